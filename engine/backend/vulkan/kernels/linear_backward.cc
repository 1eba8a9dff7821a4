#include "base/status_macros.h"
#include "engine/backend/vulkan/kernel.h"
#include "engine/backend/vulkan/kernels/dropout.h"
#include "engine/backend/vulkan/kernels/products.h"
#include "engine/ops/dropout_mask.h"

namespace choir::engine::vulkan {
namespace {

// Of the dropout's key, after the factors.
constexpr size_t kKeyInput = 4;

// dx += drop(v A).
absl::Status AddDroppedBypass(KernelContext& context) {
  const TensorView& dx = context.Output(0);
  const TensorView& a = context.Input(2);
  const TensorView bypass = context.Scratch(dx.desc.shape.rows, dx.desc.shape.cols);
  CHOIR_ASSIGN_OR_RETURN(const RowTile all, WholeMatrix(context, a));
  CHOIR_RETURN_IF_ERROR(
      EmitNn(context,
             {.dy = context.Output(1), .first_column = 0, .weight = a, .tile = all, .dx = bypass}));
  return AddDropped(context, bypass, kKeyInput, dx);
}

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
  const bool drops = HasDropout(context.attrs());
  for (const RowTile& tile : tiles) {
    const bool first = tile.first_row == 0;
    const bool with_factors = lora && first && !drops;
    CHOIR_RETURN_IF_ERROR(EmitNn(context, {.dy = dy,
                                           .first_column = tile.first_row,
                                           .weight = weight,
                                           .tile = tile,
                                           .v = with_factors ? &context.Output(1) : nullptr,
                                           .a = with_factors ? &context.Input(2) : nullptr,
                                           .acc = first ? acc : &dx,
                                           .dx = dx}));
  }
  return drops ? AddDroppedBypass(context) : absl::OkStatus();
}

}  // namespace

const VulkanKernel kLinearBackwardVulkanKernel = {Record};

}  // namespace choir::engine::vulkan
