#include "base/status_macros.h"
#include "engine/backend/vulkan/kernel.h"

namespace choir::engine::vulkan {
namespace {

absl::Status Record(KernelContext& context) {
  const TensorView& weight = context.Input(2);
  const Shape x = context.Input(1).desc.shape;
  const int64_t groups = context.attrs().Int("groups");
  const bool accumulate = context.attrs().Int("accumulate") == 1;
  CHOIR_ASSIGN_OR_RETURN(const std::vector<RowTile> tiles, context.Tiles(weight, 0));
  DispatchBuilder dispatch = context.Shader(KernelContext::Variant("rms_norm_backward", weight));
  dispatch.Read(context.Input(0)).Read(context.Input(1));
  dispatch.Weight(tiles.front().range).Read(context.Input(3));
  if (accumulate) {
    dispatch.Read(context.Input(4));
  } else {
    dispatch.Unused();
  }
  return dispatch.Write(context.Output(0))
      .Push(x.cols / groups)
      .Push(static_cast<uint32_t>(accumulate))
      .Groups(x.rows, groups)
      .Work(8.0 * static_cast<double>(x.NumElements()))
      .Emit();
}

}  // namespace

const VulkanKernel kRmsNormBackwardVulkanKernel = {Record};

}  // namespace choir::engine::vulkan
