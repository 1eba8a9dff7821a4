#include "engine/backend/vulkan/kernel.h"

namespace choir::engine::vulkan {
namespace {

absl::Status Record(KernelContext& context) {
  const Shape x = context.Input(0).desc.shape;
  return context.Shader("kv_append")
      .Read(context.Input(0))
      .Read(context.Input(1))
      .Update(context.Update(0))
      .Push(x.cols)
      .Push(context.Update(0).desc.shape.rows)
      .Groups((x.cols + 63) / 64, x.rows)
      .Work(static_cast<double>(x.NumElements()))
      .Emit();
}

}  // namespace

const VulkanKernel kKvAppendVulkanKernel = {Record};

}  // namespace choir::engine::vulkan
