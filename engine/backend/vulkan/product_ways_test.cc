// The faster ways of a product beside the plain one, wherever this device has them, however slow it
// is at them.

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include "engine/backend/vulkan/vulkan_test_device.h"
#include "engine/backend/vulkan/vulkan_test_layer.h"

namespace choir::engine {
namespace {

// With submissions of one size: else a measured one decides into how many tiles a sum is cut.
VulkanOptions By(ProductWay way) {
  return {.validation = true, .work_per_submission = 1e12, .lanes_on_software = false, .way = way};
}

bool Has(const Backend& backend, const char* feature) {
  const auto& features = backend.info().features;
  return std::find(features.begin(), features.end(), feature) != features.end();
}

// Largest difference as a share of the largest magnitude.
double Difference(const std::vector<float>& got, const std::vector<float>& want) {
  double largest = 0;
  double difference = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    largest = std::max(largest, static_cast<double>(std::abs(want[i])));
    difference = std::max(difference, static_cast<double>(std::abs(got[i] - want[i])));
    if (!std::isfinite(got[i])) return INFINITY;
  }
  return difference / largest;
}

TEST(ProductWaysTest, Fp16ProductsOfLargeLayersStayNearF32) {
  CHOIR_VULKAN_OR_SKIP(plain, By(ProductWay::kPlain));
  CHOIR_VULKAN_OR_SKIP(half, By(ProductWay::kHalf));
  if (!Has(*half, "fp16")) GTEST_SKIP() << "this device has no fp16 arithmetic";
  for (const WeightFormat* format : {&kF32Format, &kQ8_0Format}) {
    SCOPED_TRACE(format->name);
    const auto want = RunLayer(*plain, *format, Compute::kAuto);
    const auto got = RunLayer(*half, *format, Compute::kAuto);
    for (size_t i = 0; i < want.size(); ++i) {
      SCOPED_TRACE(i);
      // Random signs: errors of 2^-11 an operand add up like the products themselves.
      EXPECT_LT(Difference(got[i], want[i]), 1e-3);
    }
    // And they are not f32 products: y (0) differs. u (1) is an adapter's product, which stays.
    EXPECT_GT(Difference(got[0], want[0]), 1e-6);
    EXPECT_TRUE(got[1] == want[1]);
  }
}

TEST(ProductWaysTest, F32TakesNoOtherWay) {
  CHOIR_VULKAN_OR_SKIP(plain, By(ProductWay::kPlain));
  for (const ProductWay way : {ProductWay::kHalf, ProductWay::kDot, ProductWay::kMatrix}) {
    SCOPED_TRACE(NameOf(way));
    CHOIR_VULKAN_OR_SKIP(other, By(way));
    EXPECT_TRUE(RunLayer(*other, kQ8_0Format, Compute::kF32) ==
                RunLayer(*plain, kQ8_0Format, Compute::kF32));
  }
}

TEST(ProductWaysTest, WithoutTheFeaturesAllIsPlain) {
  CHOIR_VULKAN_OR_SKIP(plain, By(ProductWay::kPlain));
  EXPECT_TRUE(RunLayer(*plain, kF32Format, Compute::kBf16) ==
              RunLayer(*plain, kF32Format, Compute::kF32));
}

}  // namespace
}  // namespace choir::engine
