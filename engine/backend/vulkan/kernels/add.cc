#include "engine/backend/vulkan/kernel.h"

namespace choir::engine::vulkan {
namespace {

absl::Status Record(KernelContext& context) {
  const int64_t count = context.Output(0).desc.shape.NumElements();
  return context.Shader("add")
      .Read(context.Input(0))
      .Read(context.Input(1))
      .Write(context.Output(0))
      .Push(count)
      .FlatGroups(count)
      .Work(static_cast<double>(count))
      .Emit();
}

}  // namespace

const VulkanKernel kAddVulkanKernel = {Record};

}  // namespace choir::engine::vulkan
