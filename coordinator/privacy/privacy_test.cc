#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/privacy/privacy_spec.h"
#include "coordinator/privacy/run_privacy.h"
#include "secure-agg/core/abort_reason.h"

namespace choir::coordinator {
namespace {

using privacy::GaussianRdp;
using testing::HasSubstr;

v1::RunConfig Config(double budget) {
  v1::RunConfig config;
  config.set_run_id("run");
  config.mutable_aggregation()->set_clip_norm(2);
  config.mutable_aggregation()->set_max_examples_weight(1);
  config.mutable_aggregation()->set_target_cohort(40);
  config.mutable_pacing()->set_rounds(10);
  v1::PrivacySpec& spec = *config.mutable_privacy();
  spec.set_mechanism("discrete-gaussian");
  spec.set_noise_multiplier(1);
  spec.set_delta(1e-5);
  spec.set_budget_epsilon(budget);
  return config;
}

double EpsilonAfter(int rounds) {
  return privacy::EpsilonOf(GaussianRdp(1).Times(rounds), 1e-5);
}

TEST(RunPrivacyTest, StopsBeforeTheRoundThatWouldPassTheBudget) {
  RunPrivacy run = RunPrivacy::Fresh(Config(EpsilonAfter(2) + 0.01));
  EXPECT_EQ(run.Epsilon(), 0);
  ASSERT_TRUE(run.Debit(1, GaussianRdp(1)).ok());
  ASSERT_TRUE(run.Debit(2, GaussianRdp(1)).ok());
  EXPECT_NEAR(run.Epsilon(), EpsilonAfter(2), 1e-12);
  const absl::Status refused = run.Debit(3, GaussianRdp(1));
  EXPECT_EQ(secagg::ReasonOf(refused), secagg::AbortReason::kPrivacyBudgetExhausted);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("round 3 would bring epsilon"));
  EXPECT_NEAR(run.Epsilon(), EpsilonAfter(2), 1e-12);
}

TEST(RunPrivacyTest, ARoundIsPaidForOnce) {
  RunPrivacy run = RunPrivacy::Fresh(Config(0));
  ASSERT_TRUE(run.Debit(1, GaussianRdp(1)).ok());
  ASSERT_TRUE(run.Debit(1, GaussianRdp(1)).ok());
  EXPECT_NEAR(run.Epsilon(), EpsilonAfter(1), 1e-12);
}

TEST(RunPrivacyTest, SpendingSurvivesARestartToTheLastBit) {
  RunPrivacy run = RunPrivacy::Fresh(Config(0));
  ASSERT_TRUE(run.Debit(1, GaussianRdp(0.7)).ok());
  const auto again = RunPrivacy::Decode(run.Encode(), Config(0));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->Epsilon(), run.Epsilon());
  EXPECT_EQ(again->Spent(), run.Spent());
  EXPECT_EQ(again->Encode(), run.Encode());
}

TEST(RunPrivacyTest, DamageIsAnErrorAndNeverAFreshBudget) {
  const std::string good = RunPrivacy::Fresh(Config(0)).Encode();
  for (const std::string& bad :
       {std::string(), std::string("x"), good.substr(0, good.size() / 2)}) {
    EXPECT_EQ(RunPrivacy::Decode(bad, Config(0)).status().code(), absl::StatusCode::kDataLoss);
  }
}

TEST(RunPrivacyTest, RunsWithoutAMechanismPromiseAndSpendNothing) {
  v1::RunConfig config = Config(0);
  config.clear_privacy();
  auto run = RunPrivacy::Decode("", config);
  ASSERT_TRUE(run.ok()) << run.status();
  ASSERT_TRUE(run->Debit(1, privacy::RdpCurve::Of([](double) { return HUGE_VAL; })).ok());
  EXPECT_EQ(run->Epsilon(), 0);
  EXPECT_EQ(run->Spent(), secagg::PrivacySpent());
}

TEST(RunPrivacyTest, AdaptiveClipNormIsKept) {
  v1::RunConfig config = Config(0);
  config.mutable_privacy()->set_adaptive_clip(true);
  config.mutable_privacy()->set_target_unclipped(0.5);
  config.mutable_privacy()->set_clip_learning_rate(0.2);
  RunPrivacy run = RunPrivacy::Fresh(config);
  run.AdaptClip(1);
  EXPECT_NEAR(run.clip_norm(), 2 * std::exp(-0.1), 1e-12);
  EXPECT_EQ(RunPrivacy::Decode(run.Encode(), config)->clip_norm(), run.clip_norm());
}

absl::Status Complete(v1::RunConfig& config, const v1::PrivacyFloor& floor = {}) {
  return CompletePrivacySpec(config, floor, [&]() -> absl::StatusOr<privacy::RdpCurve> {
    return GaussianRdp(config.privacy().noise_multiplier() * 0.999);
  });
}

TEST(PrivacySpecTest, ATargetGivesMultiplierAndBudget) {
  v1::RunConfig config = Config(0);
  config.mutable_privacy()->set_noise_multiplier(0);
  config.mutable_privacy()->set_target_epsilon(4);
  config.mutable_privacy()->clear_delta();
  ASSERT_TRUE(Complete(config).ok());
  EXPECT_EQ(config.privacy().delta(), 1e-5);
  EXPECT_EQ(config.privacy().budget_epsilon(), 4);
  const double cost = config.privacy().noise_multiplier() * 0.999;
  const double epsilon = privacy::EpsilonOf(GaussianRdp(cost).Times(10), 1e-5);
  EXPECT_LE(epsilon, 4);
  EXPECT_GE(epsilon, 3.95);
}

TEST(PrivacySpecTest, RefusesWhatContradictsItself) {
  v1::RunConfig both = Config(0);
  both.mutable_privacy()->set_target_epsilon(1);
  EXPECT_THAT(Complete(both).ToString(), HasSubstr("not both"));
  v1::RunConfig weights = Config(0);
  weights.mutable_aggregation()->set_max_examples_weight(100);
  EXPECT_THAT(Complete(weights).ToString(), HasSubstr("equal_weights"));
  v1::RunConfig unknown = Config(0);
  unknown.mutable_privacy()->set_mechanism("laplace");
  EXPECT_THAT(Complete(unknown).ToString(), HasSubstr("laplace"));
  v1::RunConfig none = Config(1);
  none.mutable_privacy()->set_mechanism("none");
  EXPECT_FALSE(Complete(none).ok());
  v1::RunConfig nan = Config(std::nan(""));
  EXPECT_FALSE(Complete(nan).ok());
}

TEST(PrivacySpecTest, TheManifestsFloorHolds) {
  v1::PrivacyFloor floor;
  floor.set_min_noise_multiplier(1.5);
  v1::RunConfig config = Config(0);
  EXPECT_EQ(Complete(config, floor).code(), absl::StatusCode::kPermissionDenied);
  floor.set_min_noise_multiplier(1);
  floor.set_max_epsilon(8);
  EXPECT_EQ(Complete(config, floor).code(), absl::StatusCode::kPermissionDenied) << "no budget";
  config.mutable_privacy()->set_budget_epsilon(8);
  EXPECT_TRUE(Complete(config, floor).ok());
  floor.set_distributed(true);
  config.mutable_privacy()->set_mechanism("central-gaussian");
  EXPECT_EQ(Complete(config, floor).code(), absl::StatusCode::kPermissionDenied);
}

TEST(PrivacySpecTest, AdaptiveClipGetsAndrewsDefaults) {
  v1::RunConfig config = Config(0);
  config.mutable_privacy()->set_adaptive_clip(true);
  ASSERT_TRUE(Complete(config).ok());
  EXPECT_EQ(config.privacy().target_unclipped(), 0.5);
  EXPECT_EQ(config.privacy().clip_learning_rate(), 0.2);
  EXPECT_EQ(config.privacy().clip_bit_noise(), 2);
}

}  // namespace
}  // namespace choir::coordinator
