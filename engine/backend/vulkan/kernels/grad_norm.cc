#include <algorithm>

#include "base/status_macros.h"
#include "engine/backend/vulkan/kernel.h"

namespace choir::engine::vulkan {
namespace {

// 64 MiB of gradients a dispatch, within every device's binding range.
constexpr int64_t kChunk = int64_t{1} << 24;
constexpr int64_t kMaxGroups = 256;

absl::Status Record(KernelContext& context) {
  const int64_t all = context.Input(0).desc.shape.NumElements();
  for (int64_t first = 0; first < all; first += kChunk) {
    const int64_t count = std::min(kChunk, all - first);
    const int64_t groups = std::min(kMaxGroups, (count + 255) / 256);
    const TensorView partial = context.Scratch(1, groups);
    CHOIR_RETURN_IF_ERROR(context.Shader("square_sum")
                              .Read(KernelContext::Slice(context.Input(0), first, count))
                              .Write(partial)
                              .Push(count)
                              .Groups(groups)
                              .Work(2.0 * static_cast<double>(count))
                              .Emit());
    CHOIR_RETURN_IF_ERROR(context.Shader("add_total")
                              .Read(partial)
                              .Update(context.Update(0))
                              .Push(groups)
                              .Groups(1)
                              .Work(static_cast<double>(groups))
                              .Emit());
  }
  return absl::OkStatus();
}

}  // namespace

const VulkanKernel kGradNormVulkanKernel = {Record};

}  // namespace choir::engine::vulkan
