#include "engine/train/evaluation_record.h"

#include <gtest/gtest.h>

namespace choir::engine {
namespace {

TEST(EvaluationRecordTest, KeepsFirstBestAndLast) {
  EvaluationRecord record;
  EXPECT_TRUE(record.Add(0, 3.0));
  EXPECT_TRUE(record.Add(10, 2.0));
  EXPECT_FALSE(record.Add(20, 2.5));
  EXPECT_EQ(record.evaluations, 3u);
  EXPECT_EQ(record.first_loss, 3.0);
  EXPECT_EQ(record.best_loss, 2.0);
  EXPECT_EQ(record.best_step, 10);
  EXPECT_EQ(record.last_loss, 2.5);
  EXPECT_EQ(record.last_step, 20);
}

TEST(EvaluationRecordTest, AnEqualLossIsNoGain) {
  EvaluationRecord record;
  record.Add(0, 2.0);
  EXPECT_FALSE(record.Add(10, 2.0));
  EXPECT_EQ(record.best_step, 0);
  EXPECT_EQ(record.without_gain, 1u);
}

TEST(EvaluationRecordTest, PatienceCountsEvaluationsInARow) {
  const EvaluationPlan plan = {.every_steps = 1, .patience = 2, .held_out = {}};
  EvaluationRecord record;
  record.Add(0, 2.0);
  record.Add(1, 3.0);
  EXPECT_FALSE(record.OutOfPatience(plan));
  record.Add(2, 1.0);
  record.Add(3, 1.5);
  EXPECT_FALSE(record.OutOfPatience(plan));
  record.Add(4, 1.5);
  EXPECT_TRUE(record.OutOfPatience(plan));
  EXPECT_FALSE(record.OutOfPatience({.every_steps = 1, .patience = 0, .held_out = {}}));
}

}  // namespace
}  // namespace choir::engine
