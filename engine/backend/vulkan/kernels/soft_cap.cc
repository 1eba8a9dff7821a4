#include "engine/backend/vulkan/kernel.h"

namespace choir::engine::vulkan {
namespace {

absl::Status Record(KernelContext& context) {
  const int64_t count = context.Output(0).desc.shape.NumElements();
  return context.Shader("soft_cap")
      .Read(context.Input(0))
      .Write(context.Output(0))
      .Push(count)
      .Push(static_cast<float>(context.attrs().Float("cap")))
      .FlatGroups(count)
      .Work(8.0 * static_cast<double>(count))
      .Emit();
}

}  // namespace

const VulkanKernel kSoftCapVulkanKernel = {Record};

}  // namespace choir::engine::vulkan
