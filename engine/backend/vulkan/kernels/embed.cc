#include "base/status_macros.h"
#include "engine/backend/vulkan/kernel.h"

namespace choir::engine::vulkan {
namespace {

absl::Status Record(KernelContext& context) {
  const TensorView& table = context.Input(1);
  const Shape y = context.Output(0).desc.shape;
  const auto scale = static_cast<float>(context.attrs().Float("scale"));
  const int64_t row_bytes = SizeBytes(table.desc) / table.desc.shape.rows;
  CHOIR_ASSIGN_OR_RETURN(const std::vector<RowTile> tiles, context.Tiles(table, 0));
  for (const RowTile& tile : tiles) {
    CHOIR_RETURN_IF_ERROR(context.Shader(KernelContext::Variant("embed", table))
                              .Read(context.Input(0))
                              .Weight(tile.range)
                              .Write(context.Output(0))
                              .Push(y.cols)
                              .Push(row_bytes)
                              .Push(tile.first_row)
                              .Push(tile.rows)
                              .Push(table.desc.shape.rows)
                              .Push(scale)
                              .Groups((y.cols + 255) / 256, y.rows)
                              .Work(static_cast<double>(y.NumElements()))
                              .Emit());
  }
  return absl::OkStatus();
}

}  // namespace

const VulkanKernel kEmbedVulkanKernel = {Record};

}  // namespace choir::engine::vulkan
