#ifndef CHOIR_ENGINE_BACKEND_VULKAN_RESULT_H_
#define CHOIR_ENGINE_BACKEND_VULKAN_RESULT_H_

#include <string_view>

#include "absl/status/status.h"
#include <vulkan/vulkan.h>

namespace choir::engine::vulkan {

// OK for VK_SUCCESS; UNAVAILABLE "device lost" for a lost device; RESOURCE_EXHAUSTED for memory;
// INTERNAL otherwise. `what` names the call: "vkQueueSubmit".
absl::Status ToStatus(VkResult result, std::string_view what);

}  // namespace choir::engine::vulkan

#define CHOIR_VK_RETURN_IF_ERROR(expr, what) \
  CHOIR_RETURN_IF_ERROR(::choir::engine::vulkan::ToStatus((expr), (what)))

#endif  // CHOIR_ENGINE_BACKEND_VULKAN_RESULT_H_
