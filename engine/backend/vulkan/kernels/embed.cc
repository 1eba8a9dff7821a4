#include "base/status_macros.h"
#include "engine/backend/vulkan/kernel.h"
#include "engine/backend/vulkan/kernels/products.h"

namespace choir::engine::vulkan {
namespace {

// u = B[ids]; y += scale * lora_scale * u A.
absl::Status AddBypass(KernelContext& context) {
  const TensorView& a = context.Input(2);
  const TensorView& b = context.Input(3);
  const TensorView& y = context.Output(0);
  const TensorView& u = context.Output(1);
  const Shape shape = u.desc.shape;
  CHOIR_RETURN_IF_ERROR(context.Shader("gather_rows")
                            .Read(b)
                            .Read(context.Input(0))
                            .Write(u)
                            .Push(shape.cols)
                            .Push(b.desc.shape.rows)
                            .Groups((shape.cols + 63) / 64, shape.rows)
                            .Work(static_cast<double>(shape.NumElements()))
                            .Emit());
  CHOIR_ASSIGN_OR_RETURN(const RowTile all, WholeMatrix(context, a));
  const double scale = context.attrs().Float("scale") * context.attrs().Float("lora_scale");
  return EmitNn(context, {.dy = u,
                          .first_column = 0,
                          .weight = a,
                          .tile = all,
                          .alpha = static_cast<float>(scale),
                          .acc = &y,
                          .dx = y});
}

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
  return context.attrs().Int("lora") == 1 ? AddBypass(context) : absl::OkStatus();
}

}  // namespace

const VulkanKernel kEmbedVulkanKernel = {Record};

}  // namespace choir::engine::vulkan
