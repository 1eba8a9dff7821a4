#include "engine/backend/vulkan/kernels/attention_call.h"

namespace choir::engine::vulkan {
namespace {

absl::Status Record(KernelContext& context) {
  return EmitAttention(context, true, nullptr);
}

}  // namespace

const VulkanKernel kCachedAttentionVulkanKernel = {Record};

}  // namespace choir::engine::vulkan
