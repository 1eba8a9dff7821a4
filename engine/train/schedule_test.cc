#include "engine/train/schedule.h"

#include <gtest/gtest.h>

namespace choir::engine {
namespace {

TEST(ScheduleTest, WarmupRisesLinearlyToThePeak) {
  const Schedule schedule{.peak = 0.4, .warmup_steps = 4, .decay = Decay::kCosine};
  EXPECT_DOUBLE_EQ(LearningRate(schedule, 1, 100), 0.1);
  EXPECT_DOUBLE_EQ(LearningRate(schedule, 4, 100), 0.4);
  EXPECT_DOUBLE_EQ(LearningRate(schedule, 5, 100), 0.4);
}

TEST(ScheduleTest, ConstantStays) {
  const Schedule schedule{.peak = 1e-3};
  EXPECT_DOUBLE_EQ(LearningRate(schedule, 1, 20), 1e-3);
  EXPECT_DOUBLE_EQ(LearningRate(schedule, 20, 20), 1e-3);
}

TEST(ScheduleTest, LinearFallsToOneStepAboveTheEnd) {
  const Schedule schedule{.peak = 1.0, .decay = Decay::kLinear};
  EXPECT_DOUBLE_EQ(LearningRate(schedule, 1, 10), 1.0);
  EXPECT_DOUBLE_EQ(LearningRate(schedule, 6, 10), 0.5);
  EXPECT_NEAR(LearningRate(schedule, 10, 10), 0.1, 1e-15);
}

TEST(ScheduleTest, CosineIsHalfInTheMiddleAndKeepsTheFinalRatio) {
  Schedule schedule{.peak = 1.0, .decay = Decay::kCosine};
  EXPECT_DOUBLE_EQ(LearningRate(schedule, 6, 10), 0.5);
  schedule.final_ratio = 0.2;
  EXPECT_DOUBLE_EQ(LearningRate(schedule, 6, 10), 0.6);
}

TEST(ScheduleTest, WarmupLongerThanTheRunNeverDivides) {
  const Schedule schedule{.peak = 1.0, .warmup_steps = 100, .decay = Decay::kLinear};
  EXPECT_DOUBLE_EQ(LearningRate(schedule, 10, 10), 0.1);
}

TEST(ScheduleTest, NonsenseIsRefused) {
  EXPECT_FALSE(ValidateSchedule({.peak = 0}).ok());
  EXPECT_FALSE(ValidateSchedule({.peak = -1e-4}).ok());
  EXPECT_FALSE(ValidateSchedule({.warmup_steps = -1}).ok());
  EXPECT_FALSE(ValidateSchedule({.final_ratio = 1.5}).ok());
  EXPECT_FALSE(ParseDecay("exponential").ok());
  EXPECT_TRUE(ValidateSchedule({}).ok());
}

}  // namespace
}  // namespace choir::engine
