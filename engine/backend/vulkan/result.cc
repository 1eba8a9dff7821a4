#include "engine/backend/vulkan/result.h"

#include <fmt/format.h>

namespace choir::engine::vulkan {

absl::Status ToStatus(VkResult result, std::string_view what) {
  switch (result) {
    case VK_SUCCESS:
      return absl::OkStatus();
    case VK_ERROR_DEVICE_LOST:
      return absl::UnavailableError(fmt::format(
          "{}: device lost (the driver reset the GPU); start again from the last checkpoint",
          what));
    case VK_ERROR_OUT_OF_HOST_MEMORY:
      return absl::ResourceExhaustedError(fmt::format("{}: out of main memory", what));
    case VK_ERROR_OUT_OF_DEVICE_MEMORY:
      return absl::ResourceExhaustedError(fmt::format("{}: out of GPU memory", what));
    case VK_ERROR_OUT_OF_POOL_MEMORY:
    case VK_ERROR_FRAGMENTED_POOL:
      return absl::ResourceExhaustedError(fmt::format("{}: out of descriptors", what));
    default:
      return absl::InternalError(
          fmt::format("{} failed with VkResult {}", what, static_cast<int>(result)));
  }
}

}  // namespace choir::engine::vulkan
