// The shaders for devices that are a CPU beside those for GPUs, on sizes that the ops' example
// cases are too small for. On a GPU both are the same.

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include "engine/backend/vulkan/vulkan_test_device.h"
#include "engine/backend/vulkan/vulkan_test_layer.h"

namespace choir::engine {
namespace {

TEST(LaneShadersTest, LargeLayersEqualThoseOfTheShadersForGpus) {
  CHOIR_VULKAN_OR_SKIP(lanes, (VulkanOptions{.validation = true}));
  CHOIR_VULKAN_OR_SKIP(gpu, (VulkanOptions{.validation = true, .lanes_on_software = false}));
  for (const WeightFormat* format : {&kF32Format, &kF16Format, &kQ8_0Format}) {
    SCOPED_TRACE(format->name);
    const auto got = RunLayer(*lanes, *format);
    const auto want = RunLayer(*gpu, *format);
    for (size_t i = 0; i < want.size(); ++i) {
      SCOPED_TRACE(i);
      float largest = 0;
      for (const float value : want[i]) largest = std::max(largest, std::abs(value));
      EXPECT_GT(largest, 0);
      // Sums of up to 1,100 products in f32, in another order; dx and the gradients sum over sums.
      for (size_t k = 0; k < want[i].size(); ++k) {
        ASSERT_NEAR(got[i][k], want[i][k], 1e-5f * largest) << k;
      }
    }
  }
}

}  // namespace
}  // namespace choir::engine
