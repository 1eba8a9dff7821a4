#include "base/status_macros.h"
#include "engine/backend/vulkan/kernel.h"
#include "engine/backend/vulkan/kernels/dropout.h"
#include "engine/backend/vulkan/kernels/products.h"

namespace choir::engine::vulkan {
namespace {

// Of the dropout's key, after the factors.
constexpr size_t kKeyInput = 4;

absl::Status Record(KernelContext& context) {
  const TensorView& x = context.Input(0);
  const TensorView& weight = context.Input(1);
  const TensorView& y = context.Output(0);
  const bool lora = context.attrs().Int("lora") == 1;
  const auto beta = static_cast<float>(lora ? context.attrs().Float("lora_scale") : 0.0);
  if (lora) {
    const TensorView& a = context.Input(2);
    const TensorView& u = context.Output(1);
    CHOIR_ASSIGN_OR_RETURN(const RowTile all, WholeMatrix(context, a));
    CHOIR_ASSIGN_OR_RETURN(const TensorView dropped, DroppedInput(context, x, kKeyInput));
    CHOIR_RETURN_IF_ERROR(
        EmitNt(context, {.x = dropped, .weight = a, .tile = all, .y = u, .first_column = 0}));
  }
  const double work_per_row = 2.0 * static_cast<double>(x.desc.shape.NumElements());
  CHOIR_ASSIGN_OR_RETURN(const std::vector<RowTile> tiles, context.Tiles(weight, work_per_row));
  for (const RowTile& tile : tiles) {
    CHOIR_RETURN_IF_ERROR(EmitNt(context, {.x = x,
                                           .weight = weight,
                                           .tile = tile,
                                           .u = lora ? &context.Output(1) : nullptr,
                                           .b = lora ? &context.Input(3) : nullptr,
                                           .beta = beta,
                                           .y = y,
                                           .first_column = tile.first_row}));
  }
  return absl::OkStatus();
}

}  // namespace

const VulkanKernel kLinearVulkanKernel = {Record};

}  // namespace choir::engine::vulkan
