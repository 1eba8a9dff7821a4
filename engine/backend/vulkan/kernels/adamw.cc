#include <algorithm>

#include "base/status_macros.h"
#include "engine/backend/vulkan/kernel.h"

namespace choir::engine::vulkan {
namespace {

// Parameters of one dispatch: 16 MiB a tensor, within every device's binding range, and short.
constexpr int64_t kChunk = int64_t{1} << 22;

absl::Status Record(KernelContext& context) {
  const int64_t all = context.Update(0).desc.shape.NumElements();
  for (int64_t first = 0; first < all; first += kChunk) {
    const int64_t count = std::min(kChunk, all - first);
    DispatchBuilder dispatch = context.Shader("adamw");
    dispatch.Read(context.Input(0));
    for (size_t i = 0; i < 4; ++i) {
      dispatch.Update(KernelContext::Slice(context.Update(i), first, count));
    }
    CHOIR_RETURN_IF_ERROR(
        dispatch.Push(count).FlatGroups(count).Work(16.0 * static_cast<double>(count)).Emit());
  }
  return absl::OkStatus();
}

}  // namespace

const VulkanKernel kAdamWVulkanKernel = {Record};

}  // namespace choir::engine::vulkan
