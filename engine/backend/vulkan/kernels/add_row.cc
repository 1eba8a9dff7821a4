#include "base/status_macros.h"
#include "engine/backend/vulkan/kernel.h"

namespace choir::engine::vulkan {
namespace {

absl::Status Record(KernelContext& context) {
  const Shape x = context.Input(0).desc.shape;
  CHOIR_ASSIGN_OR_RETURN(const std::vector<RowTile> tiles, context.Tiles(context.Input(1), 0));
  return context.Shader("add_row")
      .Read(context.Input(0))
      .Weight(tiles.front().range)
      .Write(context.Output(0))
      .Push(x.NumElements())
      .Push(x.cols)
      .FlatGroups(x.NumElements())
      .Work(static_cast<double>(x.NumElements()))
      .Emit();
}

}  // namespace

const VulkanKernel kAddRowVulkanKernel = {Record};

}  // namespace choir::engine::vulkan
