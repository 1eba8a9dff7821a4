#include "base/status_macros.h"
#include "engine/backend/vulkan/kernel.h"
#include "engine/backend/vulkan/kernels/products.h"

namespace choir::engine::vulkan {
namespace {

absl::Status Record(KernelContext& context) {
  const TensorView& dy = context.Input(0);
  const TensorView& weight = context.Input(1);
  const TensorView& dx = context.Output(0);
  const bool lora = context.attrs().Int("lora") == 1;
  const bool accumulate = context.attrs().Int("accumulate") == 1;
  if (lora) {
    const TensorView& b = context.Input(3);
    CHOIR_ASSIGN_OR_RETURN(const RowTile all, WholeMatrix(context, b));
    const auto scale = static_cast<float>(context.attrs().Float("lora_scale"));
    CHOIR_RETURN_IF_ERROR(EmitNn(context, {.dy = dy,
                                           .first_column = 0,
                                           .weight = b,
                                           .tile = all,
                                           .alpha = scale,
                                           .dx = context.Output(1)}));
  }
  const double work_per_row = 2.0 * static_cast<double>(dx.desc.shape.NumElements());
  CHOIR_ASSIGN_OR_RETURN(const std::vector<RowTile> tiles, context.Tiles(weight, work_per_row));
  // Tiles of W's rows are parts of the sum: the first takes the adapter and acc along, the others
  // add to dx.
  const TensorView* acc = accumulate ? &context.Input(context.num_inputs() - 1) : nullptr;
  for (const RowTile& tile : tiles) {
    const bool first = tile.first_row == 0;
    CHOIR_RETURN_IF_ERROR(EmitNn(context, {.dy = dy,
                                           .first_column = tile.first_row,
                                           .weight = weight,
                                           .tile = tile,
                                           .v = lora && first ? &context.Output(1) : nullptr,
                                           .a = lora && first ? &context.Input(2) : nullptr,
                                           .acc = first ? acc : &dx,
                                           .dx = dx}));
  }
  return absl::OkStatus();
}

}  // namespace

const VulkanKernel kLinearBackwardVulkanKernel = {Record};

}  // namespace choir::engine::vulkan
