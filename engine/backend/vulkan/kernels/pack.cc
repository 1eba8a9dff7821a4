#include "engine/backend/vulkan/kernel.h"
#include "engine/backend/vulkan/kernels/packed_call.h"

namespace choir::engine::vulkan {
namespace {

absl::Status Record(KernelContext& context) {
  const TensorView& packed = context.Output(0);
  const int64_t count = packed.desc.shape.NumElements();
  const uint32_t format = PackedFormatNumber(packed.desc);
  // Two elements, or two blocks of 32, an invocation.
  const int64_t units = format == kPackedBf16 ? count : count / 32;
  return context.Shader("pack")
      .Read(context.Input(0))
      .Write(packed)
      .Push(units)
      .Constants({format})
      .FlatGroups((units + 1) / 2)
      .Work(4.0 * static_cast<double>(count))
      .Emit();
}

}  // namespace

const VulkanKernel kPackVulkanKernel = {Record};

}  // namespace choir::engine::vulkan
