#include "engine/train/train_config.h"

#include <limits>

#include <gtest/gtest.h>

namespace choir::engine {
namespace {

TEST(TrainConfigTest, StepsComeFromEpochsRoundedUp) {
  TrainConfig config;
  config.epochs = 2;
  config.micro_batches = 4;
  EXPECT_EQ(TotalSteps(config, 5), 3);
  config.epochs = 0.1;
  EXPECT_EQ(TotalSteps(config, 5), 1);
  config.steps = 20;
  EXPECT_EQ(TotalSteps(config, 5), 20);
}

TEST(TrainConfigTest, DigestSeesWhatChangesTheResultAndNothingElse) {
  TrainConfig config;
  TrainConfig other = config;
  other.recomputed_blocks = 3;
  EXPECT_EQ(config.ContentDigest(), other.ContentDigest());
  other.schedule.peak *= 2;
  EXPECT_NE(config.ContentDigest(), other.ContentDigest());
}

TEST(TrainConfigTest, NonsenseIsRefused) {
  EXPECT_TRUE(ValidateTrainConfig({}).ok());
  EXPECT_FALSE(ValidateTrainConfig({.steps = -1}).ok());
  EXPECT_FALSE(ValidateTrainConfig({.epochs = 0}).ok());
  EXPECT_FALSE(ValidateTrainConfig({.epochs = std::numeric_limits<double>::quiet_NaN()}).ok());
  EXPECT_FALSE(ValidateTrainConfig({.context_tokens = 0}).ok());
  EXPECT_FALSE(ValidateTrainConfig({.micro_batches = 0}).ok());
  EXPECT_FALSE(ValidateTrainConfig({.adamw = {.beta1 = 1.0}}).ok());
  EXPECT_FALSE(ValidateTrainConfig({.max_gradient_norm = -1}).ok());
}

}  // namespace
}  // namespace choir::engine
