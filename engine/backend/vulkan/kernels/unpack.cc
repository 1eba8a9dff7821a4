#include "engine/backend/vulkan/kernel.h"
#include "engine/backend/vulkan/kernels/packed_call.h"

namespace choir::engine::vulkan {
namespace {

absl::Status Record(KernelContext& context) {
  const int64_t count = context.Output(0).desc.shape.NumElements();
  return context.Shader("unpack")
      .Read(context.Input(0))
      .Write(context.Output(0))
      .Push(count)
      .Constants({PackedFormatNumber(context.Input(0).desc)})
      .FlatGroups(count)
      .Work(static_cast<double>(count))
      .Emit();
}

}  // namespace

const VulkanKernel kUnpackVulkanKernel = {Record};

}  // namespace choir::engine::vulkan
