#include "base/status_macros.h"
#include "engine/backend/vulkan/kernel.h"

namespace choir::engine::vulkan {
namespace {

absl::Status Record(KernelContext& context) {
  const TensorView& weight = context.Input(1);
  const Shape x = context.Input(0).desc.shape;
  const int64_t groups = context.attrs().Int("groups");
  CHOIR_ASSIGN_OR_RETURN(const std::vector<RowTile> tiles, context.Tiles(weight, 0));
  return context.Shader(KernelContext::Variant("rms_norm", weight))
      .Read(context.Input(0))
      .Weight(tiles.front().range)
      .Write(context.Output(0))
      .Write(context.Output(1))
      .Push(x.cols / groups)
      .Push(static_cast<float>(context.attrs().Float("eps")))
      .Groups(x.rows, groups)
      .Work(4.0 * static_cast<double>(x.NumElements()))
      .Emit();
}

}  // namespace

const VulkanKernel kRmsNormVulkanKernel = {Record};

}  // namespace choir::engine::vulkan
