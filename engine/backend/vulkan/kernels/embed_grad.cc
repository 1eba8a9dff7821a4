#include "base/status_macros.h"
#include "engine/backend/vulkan/kernel.h"
#include "engine/backend/vulkan/kernels/products.h"

namespace choir::engine::vulkan {
namespace {

absl::Status Record(KernelContext& context) {
  const TensorView& dy = context.Input(0);
  const TensorView& a = context.Input(2);
  const TensorView& d = context.Update(0);
  const int64_t tokens = dy.desc.shape.rows;
  const int64_t rank = a.desc.shape.rows;
  const TensorView v = context.Scratch(tokens, rank);
  CHOIR_ASSIGN_OR_RETURN(const RowTile all, WholeMatrix(context, a));
  CHOIR_RETURN_IF_ERROR(
      EmitNt(context, {.x = dy, .weight = a, .tile = all, .y = v, .first_column = 0}));
  const auto count = static_cast<double>(tokens);
  return context.Shader("embed_grad")
      .Read(v)
      .Read(context.Input(1))
      .Update(d)
      .Push(tokens)
      .Push(rank)
      .Push(d.desc.shape.rows)
      .Push(static_cast<float>(context.attrs().Float("scale")))
      .Groups((rank + 63) / 64, tokens)
      .Work(count * count * static_cast<double>(rank))
      .Emit();
}

}  // namespace

const VulkanKernel kEmbedGradVulkanKernel = {Record};

}  // namespace choir::engine::vulkan
