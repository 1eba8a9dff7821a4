#include "engine/backend/vulkan/pacer.h"

#include <gtest/gtest.h>

namespace choir::engine::vulkan {
namespace {

TEST(PacerTest, FollowsTheMeasuredSpeed) {
  Pacer pacer(VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU);
  for (int i = 0; i < 60; ++i) pacer.Observe(1e9, 1.0);
  EXPECT_NEAR(pacer.WorkPerSubmission(), 1e9 * Pacer::kTargetSeconds, 1e3);
}

TEST(PacerTest, OneOddRunMovesItHalfWayOnly) {
  Pacer pacer(VK_PHYSICAL_DEVICE_TYPE_CPU);
  const double before = pacer.WorkPerSubmission();
  pacer.Observe(1e9, 10.0);  // another program had the machine
  EXPECT_GE(pacer.WorkPerSubmission(), 0.5 * before);
}

TEST(PacerTest, RunsTooShortToMeasureChangeNothing) {
  Pacer pacer(VK_PHYSICAL_DEVICE_TYPE_CPU);
  const double before = pacer.WorkPerSubmission();
  pacer.Observe(1e12, 1e-6);
  pacer.Observe(1e6, 0);
  pacer.Observe(0, 1);
  EXPECT_EQ(pacer.WorkPerSubmission(), before);
}

TEST(PacerTest, ASubmissionAlwaysHoldsSomeWork) {
  Pacer pacer(VK_PHYSICAL_DEVICE_TYPE_CPU);
  for (int i = 0; i < 100; ++i) pacer.Observe(1, 1e6);
  EXPECT_GE(pacer.WorkPerSubmission(), 1e6);
}

}  // namespace
}  // namespace choir::engine::vulkan
