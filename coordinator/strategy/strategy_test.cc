// The contract that every strategy of the table keeps, and what each promises beyond it.
#include "coordinator/strategy/strategy.h"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/strategy/combine.h"
#include "coordinator/strategy/server_optimizer.h"

namespace choir::coordinator {
namespace {

using engine::Contribution;
using engine::TrainedFactors;

// Two pairs of unlike shapes: (out 3, in 2, rank 1) and (out 2, in 2, rank 2).
engine::Adapter SmallAdapter() {
  engine::Adapter adapter;
  adapter.alpha = 2.0f;
  adapter.architecture = "llama";
  adapter.pairs.push_back({"blk.0.attn_q.weight", 3, 2, 1, {1, 2}, {3, 4, 5}});
  adapter.pairs.push_back({"blk.0.attn_v.weight", 2, 2, 2, {1, 1, 1, 1}, {0, 0, 0, 0}});
  return adapter;
}

std::vector<float> Ramp(uint64_t length, float factor) {
  std::vector<float> out(length);
  for (size_t i = 0; i < out.size(); ++i) out[i] = factor * static_cast<float>(i + 1);
  return out;
}

class StrategyContractTest : public testing::TestWithParam<std::string> {
 protected:
  StrategyContractTest() : strategy_(MakeStrategy(GetParam()).value()) {}
  uint64_t Length(uint64_t parent) const {
    return engine::ContributionLength(SmallAdapter(), strategy_->ContributionFor(parent));
  }
  std::unique_ptr<AggregationStrategy> strategy_;
};

// Sums in, adapter out: what three nodes of different weights trained, merged from two cohorts'
// means, is the plain weighted mean of their adapters, where they send what they trained.
TEST_P(StrategyContractTest, MergeEqualsThePlainMeanOfTheNodesAdapters) {
  constexpr double kWeights[] = {1.0, 0.5, 0.25};
  for (const uint64_t parent : {0u, 1u, 2u}) {
    const Contribution contribution = strategy_->ContributionFor(parent);
    const std::vector<float> start = engine::ContributionOf(SmallAdapter(), contribution);
    std::vector<std::vector<float>> deltas;
    for (const float factor : {0.5f, -2.0f, 3.0f}) deltas.push_back(Ramp(start.size(), factor));
    CohortUpdate pair{std::vector<float>(start.size()), 1.5};
    std::vector<double> wanted(start.size());
    for (size_t i = 0; i < start.size(); ++i) {
      pair.mean_delta[i] = static_cast<float>(
          (kWeights[0] * double{deltas[0][i]} + kWeights[1] * double{deltas[1][i]}) / 1.5);
      double sum = 0;
      for (size_t k = 0; k < 3; ++k) sum += kWeights[k] * (double{start[i]} + double{deltas[k][i]});
      wanted[i] = sum / 1.75;
    }
    const std::vector<CohortUpdate> cohorts = {pair, {deltas[2], 0.25}};
    const auto mean = CombineCohorts(cohorts, start.size(), {});
    ASSERT_TRUE(mean.ok()) << mean.status();
    engine::Adapter adapter = SmallAdapter();
    ASSERT_TRUE(strategy_->Apply(*mean, parent, adapter).ok());
    const std::vector<float> got = engine::ContributionOf(adapter, contribution);
    // Two roundings to f32 of numbers below 32.
    for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(double{got[i]}, wanted[i], 1e-5) << i;
  }
}

TEST_P(StrategyContractTest, EveryServerOptimizerGoesWithIt) {
  for (const char* name : {"plain", "momentum", "fedadagrad", "fedyogi", "fedadam"}) {
    ServerOptimizerConfig config;
    config.kind = ParseServerOptimizer(name).value();
    ServerState state;
    engine::Adapter adapter = SmallAdapter();
    for (uint64_t parent = 0; parent < 4; ++parent) {
      const Contribution contribution = strategy_->ContributionFor(parent);
      const auto update = ServerStep(config, Ramp(Length(parent), 0.01f),
                                     engine::ContributionName(contribution), state);
      ASSERT_TRUE(update.ok()) << name << ": " << update.status();
      ASSERT_TRUE(strategy_->Apply(*update, parent, adapter).ok());
    }
    EXPECT_NE(engine::Flatten(adapter), engine::Flatten(SmallAdapter())) << name;
  }
}

TEST_P(StrategyContractTest, LeavesWhatNobodySentAlone) {
  for (const uint64_t parent : {0u, 1u}) {
    engine::Adapter adapter = SmallAdapter();
    ASSERT_TRUE(strategy_->Apply(Ramp(Length(parent), 1.0f), parent, adapter).ok());
    const Contribution sent = strategy_->ContributionFor(parent);
    for (size_t i = 0; i < adapter.pairs.size(); ++i) {
      const bool a_same = adapter.pairs[i].a == SmallAdapter().pairs[i].a;
      const bool b_same = adapter.pairs[i].b == SmallAdapter().pairs[i].b;
      EXPECT_EQ(a_same, sent == Contribution::kB);
      EXPECT_EQ(b_same, sent == Contribution::kA || sent == Contribution::kSharedA);
    }
  }
}

TEST_P(StrategyContractTest, RefusesAnUpdateOfAnotherLength) {
  engine::Adapter adapter = SmallAdapter();
  EXPECT_EQ(strategy_->Apply(Ramp(Length(0) - 1, 1), 0, adapter).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(engine::Flatten(adapter), engine::Flatten(SmallAdapter()));
}

INSTANTIATE_TEST_SUITE_P(Table, StrategyContractTest, testing::ValuesIn(StrategyNames()),
                         [](const auto& entry) {
                           std::string name = entry.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(StrategyTableTest, UnknownNameListsTheKnown) {
  const absl::Status status = MakeStrategy("fedsgd").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("alternating, fedavg, ffa"));
}

TEST(AlternatingTest, TrainsBFromEvenVersionsSoThatBIsFirst) {
  const auto strategy = MakeStrategy("alternating").value();
  EXPECT_EQ(strategy->ContributionFor(0), Contribution::kB);
  EXPECT_EQ(strategy->ContributionFor(1), Contribution::kA);
  EXPECT_EQ(strategy->ContributionFor(2), Contribution::kB);
}

TEST(FedAvgTest, TrainsBoth) {
  EXPECT_EQ(MakeStrategy("fedavg").value()->ContributionFor(1), Contribution::kBoth);
}

// So the mean of the products is the product of the means.
TEST(FfaTest, TrainsBInEveryRound) {
  const auto strategy = MakeStrategy("ffa").value();
  for (const uint64_t parent : {0u, 1u, 7u}) {
    EXPECT_EQ(strategy->ContributionFor(parent), Contribution::kB);
  }
}

TEST(ShareATest, BOfThePublishedAdapterStaysAsItStarted) {
  const auto strategy = MakeStrategy("share-a").value();
  EXPECT_EQ(engine::TrainedBy(strategy->ContributionFor(3)), TrainedFactors::kBoth);
  engine::Adapter adapter = SmallAdapter();
  ASSERT_TRUE(strategy->Apply(Ramp(6, 1), 0, adapter).ok());
  EXPECT_EQ(engine::FlattenFactors(adapter, TrainedFactors::kB),
            engine::FlattenFactors(SmallAdapter(), TrainedFactors::kB));
}

}  // namespace
}  // namespace choir::coordinator
