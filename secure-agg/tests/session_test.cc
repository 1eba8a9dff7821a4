#include <map>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/random.h"
#include "secure-agg/core/codec.h"
#include "secure-agg/tests/cohort.h"

namespace choir::secagg {
namespace {

// The smallest cohort and each word size, with both generators.
struct Shape {
  uint8_t word_bits;
  uint8_t value_bits;
  Prg prg;
};

class ShapeTest : public ::testing::TestWithParam<Shape> {};

TEST_P(ShapeTest, SumEqualsPlainSumBitForBit) {
  SessionConfig config = TestConfig(1001);
  config.word_bits = GetParam().word_bits;
  config.value_bits = GetParam().value_bits;
  config.prg = GetParam().prg;
  const TestCohort cohort(5, config, 3);
  Play play(cohort);
  play.Run();
  ASSERT_EQ(play.server.stage(), ServerStage::kDone);
  const SessionSum sum = std::move(play.server).TakeSum().value();
  EXPECT_EQ(sum.contributors.size(), 5u);
  EXPECT_EQ(sum.packed, cohort.PlainSum(sum.contributors));
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, ShapeTest,
    ::testing::Values(Shape{16, 11, Prg::kChaCha20}, Shape{16, 9, Prg::kAes256Ctr},
                      Shape{24, 19, Prg::kChaCha20}, Shape{24, 16, Prg::kAes256Ctr},
                      Shape{32, 27, Prg::kChaCha20}, Shape{32, 24, Prg::kAes256Ctr}));

TEST(SessionTest, CohortSumSaysWhatTheNodesPutIn) {
  const TestCohort cohort(6, TestConfig(), 5);
  Play play(cohort);
  play.Run();
  ASSERT_EQ(play.server.stage(), ServerStage::kDone);
  const SessionSum sum = std::move(play.server).TakeSum().value();
  double weight = 0;
  double loss = 0;
  uint64_t tokens = 0;
  double extra = 0;
  std::vector<double> weighted(37);
  for (const TestNode& node : cohort.nodes) {
    const double w = static_cast<double>(node.examples) / 100;
    weight += w;
    loss += node.loss_sum;
    tokens += node.token_count;
    extra += node.extras[1];
    for (size_t k = 0; k < weighted.size(); ++k) weighted[k] += w * double{node.delta[k]};
  }
  // Weights are rounded to 2^-32, the other slots to 2^-16, each once per node.
  EXPECT_NEAR(sum.cohort.total_weight, weight, 1e-8);
  EXPECT_NEAR(sum.cohort.loss_sum, loss, 1e-4);
  EXPECT_NEAR(sum.cohort.extras[1], extra, 1e-4);
  EXPECT_EQ(sum.cohort.token_count, tokens);
  EXPECT_EQ(sum.cohort.num_clipped, 0u);
  EXPECT_EQ(sum.cohort.num_contributors, 6u);
  for (size_t k = 0; k < weighted.size(); ++k) {
    // Each of 6 nodes is off by less than one step of 1/(2^23 - 1).
    EXPECT_NEAR(sum.cohort.mean_delta[k], weighted[k] / weight, 6.0 / 8388607 / weight + 1e-7);
  }
}

// Every size, with random silences in every phase: the sum is exact, or the session ends with a
// reason that says what was missing.
TEST(SessionTest, DropOutsEndInTheExactSumOrACleanAbort) {
  int done = 0;
  int aborted = 0;
  for (uint64_t seed = 1; seed <= 72; ++seed) {
    SeededRng rng(seed);
    const auto n = static_cast<uint32_t>(3 + seed % 18);
    const TestCohort cohort(n, TestConfig(), seed);
    std::map<size_t, int> silent;
    for (uint32_t i = 0; i < n; ++i) {
      if (rng.NextUnit() < 0.25) silent[i] = static_cast<int>(rng.NextBelow(5));
    }
    Play play(cohort, silent);
    play.Run();
    SCOPED_TRACE(::testing::Message() << "seed " << seed << " n " << n);
    if (play.server.stage() == ServerStage::kDone) {
      ++done;
      const SessionSum sum = std::move(play.server).TakeSum().value();
      for (const auto& [i, stage] : silent) {
        const bool inside =
            std::ranges::find(sum.contributors, cohort.nodes[i].id) != sum.contributors.end();
        EXPECT_EQ(inside, stage > 2);
      }
      EXPECT_EQ(sum.packed, cohort.PlainSum(sum.contributors));
    } else {
      ++aborted;
      ASSERT_EQ(play.server.stage(), ServerStage::kAborted);
      EXPECT_THAT(
          play.server.abort_reason(),
          ::testing::AnyOf(AbortReason::kCohortBelowMinimum, AbortReason::kTooFewShareholders,
                           AbortReason::kTooFewSurvivors, AbortReason::kTooFewSignatures,
                           AbortReason::kTooFewUnmaskShares));
    }
  }
  EXPECT_GT(done, 20);
  EXPECT_GT(aborted, 5);
}

// n = 10: t = 7. Exactly t are enough in every later phase, t - 1 never.
TEST(SessionTest, ThresholdIsExact) {
  const TestCohort cohort(10, TestConfig(), 9);
  for (int stage = 1; stage <= 4; ++stage) {
    for (size_t silent = 3; silent <= 4; ++silent) {
      std::map<size_t, int> plan;
      for (size_t i = 0; i < silent; ++i) plan[2 * i] = stage;
      Play play(cohort, plan);
      play.Run();
      SCOPED_TRACE(::testing::Message() << silent << " silent from stage " << stage);
      EXPECT_EQ(play.server.stage(), silent == 3 ? ServerStage::kDone : ServerStage::kAborted);
    }
  }
}

TEST(SessionTest, RepeatsChangeNothing) {
  const TestCohort cohort(4, TestConfig(), 11);
  Play play(cohort);
  ASSERT_TRUE(play.Advertise());
  const NodeId& id = cohort.nodes[0].id;
  const std::vector<uint8_t> list = play.server.MessageFor(id).value();
  const std::vector<uint8_t> first = Sent(play.clients[0]->HandleKeyList(list));
  EXPECT_EQ(Sent(play.clients[0]->HandleKeyList(list)), first);
  ASSERT_TRUE(play.Share());
  EXPECT_TRUE(play.server.AddShareKeys(id, first).ok());
  ASSERT_TRUE(play.Mask());
  EXPECT_TRUE(play.Upload(1).ok());
  EXPECT_TRUE(play.Upload(1).ok());
  ASSERT_TRUE(play.Vouch());
  const std::vector<uint8_t> request = play.server.MessageFor(id).value();
  const std::vector<uint8_t> answer = Sent(play.clients[0]->HandleSurvivorSignatures(request));
  EXPECT_EQ(Sent(play.clients[0]->HandleSurvivorSignatures(request)), answer);
  EXPECT_TRUE(play.server.AddUnmaskShares(id, answer).ok());
  ASSERT_TRUE(play.Unmask());
  const SessionSum sum = std::move(play.server).TakeSum().value();
  EXPECT_EQ(sum.packed, cohort.PlainSum(sum.contributors));
}

TEST(SessionTest, CancelledNodesAreNotWaitedFor) {
  const TestCohort cohort(7, TestConfig(), 13);
  Play play(cohort, {{3, 2}});
  ASSERT_TRUE(play.Advertise() && play.Share());
  (void)play.clients[3]->Abandon(AbortReason::kCancelled);
  EXPECT_EQ(play.clients[3]->stage(), ClientStage::kAborted);
  EXPECT_FALSE(play.clients[3]->input_spent());
  EXPECT_TRUE(play.server.Withdraw(cohort.nodes[3].id).ok());
  EXPECT_EQ(play.server.StateOf(cohort.nodes[3].id), NodeState::kDropped);
  EXPECT_EQ(play.server.Waiting().size(), 6u);
  ASSERT_TRUE(play.Mask() && play.Vouch() && play.Unmask());
  const SessionSum sum = std::move(play.server).TakeSum().value();
  EXPECT_EQ(sum.contributors.size(), 6u);
  EXPECT_EQ(sum.packed, cohort.PlainSum(sum.contributors));
}

// A node cancelled after it made its y: the delta is spent, whatever became of the upload.
TEST(SessionTest, CancelMidUploadSpendsTheDelta) {
  const TestCohort cohort(4, TestConfig(), 14);
  Play play(cohort, {{3, 2}});
  ASSERT_TRUE(play.Advertise() && play.Share());
  Sent(play.clients[3]->HandleShareDelivery(play.server.MessageFor(cohort.nodes[3].id).value()));
  Sent(play.clients[3]->MaskInput(cohort.nodes[3].values()));
  (void)play.clients[3]->Abandon(AbortReason::kCancelled);
  EXPECT_TRUE(play.clients[3]->input_spent());
  EXPECT_EQ(play.clients[3]->num_chunks(), 0u);
  ASSERT_TRUE(play.server.Withdraw(cohort.nodes[3].id).ok());
  EXPECT_TRUE(play.Mask() && play.Vouch() && play.Unmask());
}

}  // namespace
}  // namespace choir::secagg
