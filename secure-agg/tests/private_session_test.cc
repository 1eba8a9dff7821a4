#include <cmath>

#include <gtest/gtest.h>

#include "privacy/noise_plan.h"
#include "secure-agg/core/codec.h"
#include "secure-agg/tests/cohort.h"

// Whole sessions under differential privacy: nodes add their noise before masking, and what the
// coordinator opens is the noised sum, bit for bit.
namespace choir::secagg {
namespace {

struct PrivateCase {
  NoiseMechanism mechanism;
  uint32_t word_bits;
  double clip_bit_noise;
};

class PrivateSessionTest : public testing::TestWithParam<PrivateCase> {};

TEST_P(PrivateSessionTest, OpensExactlyTheNoisedSumOfTheSurvivors) {
  SessionConfig config = TestConfig(500);
  MakePrivate(config);
  config.privacy.mechanism = GetParam().mechanism;
  config.privacy.clip_bit_noise = GetParam().clip_bit_noise;
  config.word_bits = static_cast<uint8_t>(GetParam().word_bits);
  config.value_bits = static_cast<uint8_t>(GetParam().word_bits - 5);
  config.clip_norm = 1;
  const TestCohort cohort(10, config, 5);
  Play play(cohort, {{3, 2}, {8, 3}});
  play.Run();
  const auto sum = std::move(play.server).TakeSum();
  ASSERT_TRUE(sum.ok()) << sum.status();
  EXPECT_EQ(sum->contributors.size(), 9u);  // the one that was silent later is in the sum
  EXPECT_EQ(sum->packed, cohort.PlainSum(sum->contributors));

  const CohortSum decoded = DecodeSum(CodecOf(config), sum->packed, 9).value();
  EXPECT_EQ(decoded.total_weight, 9);
  EXPECT_EQ(decoded.loss_sum, 0);
  EXPECT_EQ(decoded.token_count, 0u);
  EXPECT_EQ(decoded.num_clipped, 0u);
  EXPECT_EQ(decoded.unclipped_share.has_value(), GetParam().clip_bit_noise != 0);
  // 7 of 10 are assured, 9 are there: noise of variance 9/7 of what is promised.
  const privacy::NoisePlan plan = PlanOf(CodecOf(config)).value();
  const bool distributed = privacy::IsDistributed(plan.mechanism);
  const double deviation = distributed ? plan.deviation / plan.scale * std::sqrt(9.0 / 7) / 9 : 0;
  double square = 0;
  for (size_t i = 0; i < decoded.mean_delta.size(); ++i) {
    double plain = 0;
    for (const size_t node : {0u, 1u, 2u, 4u, 5u, 6u, 7u, 8u, 9u}) {
      const TestNode& from = cohort.nodes[node];
      double norm = 0;
      for (const float v : from.delta) norm += double{v} * double{v};
      plain += double{from.delta[i]} / std::max(1.0, std::sqrt(norm)) / 9;
    }
    square += std::pow(double{decoded.mean_delta[i]} - plain, 2);
  }
  const double found = std::sqrt(square / static_cast<double>(decoded.mean_delta.size()));
  // Rounding by up to a step a node; and 5 standard errors of a deviation from 500 draws.
  EXPECT_NEAR(found, deviation, 5 * deviation / std::sqrt(1000.0) + 1 / plan.scale);
}

INSTANTIATE_TEST_SUITE_P(All, PrivateSessionTest,
                         testing::Values(PrivateCase{NoiseMechanism::kDiscreteGaussian, 32, 0},
                                         PrivateCase{NoiseMechanism::kDiscreteGaussian, 16, 0},
                                         PrivateCase{NoiseMechanism::kDiscreteGaussian, 24, 2},
                                         PrivateCase{NoiseMechanism::kSkellam, 32, 0},
                                         PrivateCase{NoiseMechanism::kSkellam, 16, 2},
                                         PrivateCase{NoiseMechanism::kCentralGaussian, 32, 2}));

// A node that was killed after it had announced its input makes the same input again.
TEST(PrivateSessionTest, RestartedNodeMakesTheSameNoise) {
  SessionConfig config = TestConfig(64);
  MakePrivate(config);
  const TestCohort cohort(5, config, 6);
  Play play(cohort);
  ASSERT_TRUE(play.Advertise() && play.Share());
  const NodeId& id = cohort.nodes[1].id;
  (void)Sent(play.clients[1]->HandleShareDelivery(play.server.MessageFor(id).value()));
  const std::vector<uint8_t> first = Sent(play.clients[1]->MaskInput(cohort.nodes[1].values()));
  const SecretBuffer journal = play.clients[1]->Snapshot();
  auto again = ClientSession::Restore(journal.Expose(), *cohort.nodes[1].signer, cohort.authority);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(Sent(again->MaskInput(cohort.nodes[1].values())), first);
}

}  // namespace
}  // namespace choir::secagg
