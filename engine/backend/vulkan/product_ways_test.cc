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

TEST(ProductWaysTest, IntegersOfAFewTokensStayNearF32) {
  CHOIR_VULKAN_OR_SKIP(plain, By(ProductWay::kPlain));
  CHOIR_VULKAN_OR_SKIP(dot, By(ProductWay::kDot));
  if (!Has(*dot, "int8 dot product")) GTEST_SKIP() << "this device has no integer dot products";
  for (const WeightFormat* format :
       {&kQ8_0Format, &kQ4_0Format, &kQ4_KFormat, &kQ6_KFormat, &kTQ2_0Format}) {
    for (const int64_t tokens : {1, 3}) {
      SCOPED_TRACE(testing::Message() << format->name << ", " << tokens << " tokens");
      const auto want = RunLayer(*plain, *format, Compute::kAuto, tokens);
      const auto got = RunLayer(*dot, *format, Compute::kAuto, tokens);
      // 2^-16 of the largest of each 32 elements, and of random signs; f32 sums round to 1e-6.
      EXPECT_LT(Difference(got[0], want[0]), 2e-5);
      EXPECT_FALSE(got[0] == want[0]);
    }
  }
}

// A format without integers in shaders.
TEST(ProductWaysTest, FormatsWithoutIntegersTakeThePlainWay) {
  CHOIR_VULKAN_OR_SKIP(plain, By(ProductWay::kPlain));
  CHOIR_VULKAN_OR_SKIP(dot, By(ProductWay::kDot));
  EXPECT_TRUE(RunLayer(*dot, kF16Format, Compute::kAuto, 1) ==
              RunLayer(*plain, kF16Format, Compute::kAuto, 1));
}

TEST(ProductWaysTest, F32TakesNoOtherWay) {
  CHOIR_VULKAN_OR_SKIP(plain, By(ProductWay::kPlain));
  for (const ProductWay way : {ProductWay::kHalf, ProductWay::kDot, ProductWay::kMatrix}) {
    SCOPED_TRACE(NameOf(way));
    CHOIR_VULKAN_OR_SKIP(other, By(way));
    for (const int64_t tokens : {int64_t{1}, kLayerTokens}) {
      EXPECT_TRUE(RunLayer(*other, kQ8_0Format, Compute::kF32, tokens) ==
                  RunLayer(*plain, kQ8_0Format, Compute::kF32, tokens));
    }
  }
}

TEST(ProductWaysTest, WithoutTheFeaturesAllIsPlain) {
  CHOIR_VULKAN_OR_SKIP(plain, By(ProductWay::kPlain));
  EXPECT_TRUE(RunLayer(*plain, kF32Format, Compute::kBf16) ==
              RunLayer(*plain, kF32Format, Compute::kF32));
}

}  // namespace
}  // namespace choir::engine
