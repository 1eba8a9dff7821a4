#include "engine/backend/vulkan/kernels/attention_call.h"

namespace choir::engine::vulkan {
namespace {

absl::Status Record(KernelContext& context) {
  const Shape x = context.Input(0).desc.shape;
  const uint32_t format = KvFormatOf(context.Update(0).desc);
  // A block of Q8_0, else an element, an invocation.
  const int64_t units = format == kKvQ8_0 ? x.cols / 32 : x.cols;
  return context.Shader("kv_append")
      .Read(context.Input(0))
      .Read(context.Input(1))
      .Update(context.Update(0))
      .Push(x.cols)
      .Push(context.Update(0).desc.shape.rows)
      .Constants({format})
      .Groups((units + 63) / 64, x.rows)
      .Work(static_cast<double>(x.NumElements()))
      .Emit();
}

}  // namespace

const VulkanKernel kKvAppendVulkanKernel = {Record};

}  // namespace choir::engine::vulkan
