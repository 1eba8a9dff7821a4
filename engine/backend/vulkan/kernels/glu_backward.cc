#include "engine/backend/vulkan/kernel.h"

namespace choir::engine::vulkan {
namespace {

absl::Status Record(KernelContext& context) {
  const int64_t count = context.Output(0).desc.shape.NumElements();
  return context.Shader("glu_backward")
      .Read(context.Input(0))
      .Read(context.Input(1))
      .Read(context.Input(2))
      .Write(context.Output(0))
      .Write(context.Output(1))
      .Push(count)
      .Push(context.attrs().Int("act"))
      .FlatGroups(count)
      .Work(24.0 * static_cast<double>(count))
      .Emit();
}

}  // namespace

const VulkanKernel kGluBackwardVulkanKernel = {Record};

}  // namespace choir::engine::vulkan
