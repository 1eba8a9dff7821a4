#include "privacy/adaptive_clip.h"

#include <cmath>

#include <gtest/gtest.h>

namespace choir::privacy {
namespace {

TEST(AdaptiveClipTest, MovesGeometricallyTowardsTheTarget) {
  const AdaptiveClip settings{0.5, 0.2};
  EXPECT_DOUBLE_EQ(NextClipNorm(0.1, 0.5, settings, 0.1), 0.1);
  EXPECT_DOUBLE_EQ(NextClipNorm(0.1, 1.0, settings, 0.1), 0.1 * std::exp(-0.1));
  EXPECT_DOUBLE_EQ(NextClipNorm(0.1, 0.0, settings, 0.1), 0.1 * std::exp(0.1));
}

TEST(AdaptiveClipTest, ANoisyShareBeyondItsRangeMovesNoFurther) {
  const AdaptiveClip settings{0.5, 0.2};
  EXPECT_DOUBLE_EQ(NextClipNorm(1, 7, settings, 1), NextClipNorm(1, 1, settings, 1));
  EXPECT_DOUBLE_EQ(NextClipNorm(1, -7, settings, 1), NextClipNorm(1, 0, settings, 1));
}

TEST(AdaptiveClipTest, StaysWithinReachOfTheFirstNorm) {
  const AdaptiveClip settings{0.5, 1};
  double clip = 1;
  for (int i = 0; i < 100; ++i) clip = NextClipNorm(clip, 1, settings, 1);
  EXPECT_DOUBLE_EQ(clip, 1e-3);
}

// The norms of 1,000 nodes are 1/1000 to 1: the clip norm finds their median.
TEST(AdaptiveClipTest, FindsTheQuantile) {
  const AdaptiveClip settings{0.5, 0.2};
  double clip = 0.01;
  for (int i = 0; i < 200; ++i) {
    const double unclipped = std::floor(std::min(clip, 1.0) * 1000) / 1000;
    clip = NextClipNorm(clip, unclipped, settings, 0.01);
  }
  EXPECT_NEAR(clip, 0.5, 0.01);
}

}  // namespace
}  // namespace choir::privacy
