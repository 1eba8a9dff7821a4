#ifndef CHOIR_ENGINE_BACKEND_VULKAN_VULKAN_TEST_DEVICE_H_
#define CHOIR_ENGINE_BACKEND_VULKAN_VULKAN_TEST_DEVICE_H_

// For tests: a backend with validation on, or a plain word about why there is none.

#include <cstdlib>
#include <memory>
#include <string_view>

#include <gtest/gtest.h>

#include "engine/backend/vulkan/vulkan_backend.h"

namespace choir::engine {

// With CHOIR_REQUIRE_VULKAN=1 a machine without a device fails the test instead of skipping it.
inline bool VulkanRequired() {
  const char* required = std::getenv("CHOIR_REQUIRE_VULKAN");
  return required != nullptr && std::string_view(required) == "1";
}

}  // namespace choir::engine

// `name` becomes a std::unique_ptr<Backend>, or the test skips and says why.
#define CHOIR_VULKAN_OR_SKIP(name, options)                                             \
  auto name##_made = ::choir::engine::CreateVulkanBackend(options);                     \
  if (!name##_made.ok()) {                                                              \
    ASSERT_FALSE(::choir::engine::VulkanRequired()) << name##_made.status().ToString(); \
    GTEST_SKIP() << "no Vulkan device here: " << name##_made.status().message();        \
  }                                                                                     \
  const std::unique_ptr<::choir::engine::Backend> name = *std::move(name##_made)

#endif  // CHOIR_ENGINE_BACKEND_VULKAN_VULKAN_TEST_DEVICE_H_
