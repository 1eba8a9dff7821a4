// The contract that every strategy of the table keeps, and what each promises beyond it.
#include "coordinator/strategy/strategy.h"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/strategy/combine.h"
#include "coordinator/strategy/server_optimizer.h"
#include "engine/lora/latent.h"
#include "engine/lora/sketch.h"

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

// All B A of an adapter, one after the other: what the model sees of it.
std::vector<double> Products(const engine::Adapter& adapter) {
  std::vector<double> out;
  for (const engine::LoraPair& pair : adapter.pairs) {
    for (int64_t i = 0; i < pair.rows; ++i) {
      for (int64_t j = 0; j < pair.cols; ++j) {
        double sum = 0;
        for (int64_t k = 0; k < pair.rank; ++k) {
          sum += double{pair.b[static_cast<size_t>(i * pair.rank + k)]} *
                 double{pair.a[static_cast<size_t>(k * pair.cols + j)]};
        }
        out.push_back(sum);
      }
    }
  }
  return out;
}

class StrategyContractTest : public testing::TestWithParam<std::string> {
 protected:
  StrategyContractTest() : strategy_(MakeStrategy(GetParam()).value()) {}
  uint64_t Length(uint64_t parent) const {
    return engine::ContributionLength(SmallAdapter(), strategy_->ContributionFor(parent));
  }
  // A run's version `number`: every one before it brought a small update.
  VersionState Version(uint64_t number) const {
    VersionState state{SmallAdapter()};
    for (uint64_t v = 0; v < number; ++v) {
      EXPECT_TRUE(strategy_->Apply(Ramp(Length(v), 0.125f), v, state).ok());
    }
    return state;
  }
  // What a node has after training, by so much; of a sketch B alone moves, so that the mean product
  // has the adapter's rank and nothing of it is cut off.
  engine::Adapter Trained(const VersionState& state, Contribution contribution,
                          float factor) const {
    engine::Adapter adapter = state.adapter;
    if (engine::IsFactors(contribution)) {
      const uint64_t length = engine::ContributionLength(adapter, contribution);
      EXPECT_TRUE(engine::AddContribution(adapter, contribution, 1.0f, Ramp(length, factor)).ok());
    } else if (contribution == Contribution::kCore) {
      std::vector<float> core = engine::CoreOf(adapter, *state.basis);
      const std::vector<float> delta = Ramp(core.size(), factor);
      for (size_t i = 0; i < core.size(); ++i) core[i] += delta[i];
      EXPECT_TRUE(engine::SetCore(adapter, *state.basis, core).ok());
    } else {
      const uint64_t length = engine::CountFactors(adapter, TrainedFactors::kB);
      EXPECT_TRUE(
          engine::AddToFactors(adapter, TrainedFactors::kB, 1.0f, Ramp(length, factor)).ok());
    }
    return adapter;
  }
  static std::vector<float> SentBy(const VersionState& state, Contribution contribution,
                                   uint64_t parent, const engine::Adapter& trained) {
    if (contribution == Contribution::kSketchLeft) {
      return engine::LeftSketchDelta(trained, state.adapter, parent);
    }
    if (contribution == Contribution::kSketchRight) {
      return engine::RightSketchDelta(trained, state.adapter, *state.basis);
    }
    if (contribution == Contribution::kCore) {
      std::vector<float> core = engine::CoreOf(trained, *state.basis);
      const std::vector<float> start = engine::CoreOf(state.adapter, *state.basis);
      for (size_t i = 0; i < core.size(); ++i) core[i] -= start[i];
      return core;
    }
    return engine::ContributionOf(*engine::Subtract(trained, state.adapter), contribution);
  }
  // Three nodes of weights 1, 0.5 and 0.25, merged from two cohorts' means.
  void Merge(const std::vector<engine::Adapter>& trained, uint64_t parent, VersionState& state) {
    const Contribution contribution = strategy_->ContributionFor(parent);
    std::vector<std::vector<float>> sent;
    for (const engine::Adapter& one : trained) {
      sent.push_back(SentBy(state, contribution, parent, one));
    }
    CohortUpdate pair{std::vector<float>(sent[0].size()), 1.5};
    for (size_t i = 0; i < sent[0].size(); ++i) {
      pair.mean_delta[i] =
          static_cast<float>((double{sent[0][i]} + 0.5 * double{sent[1][i]}) / 1.5);
    }
    const std::vector<CohortUpdate> cohorts = {pair, {sent[2], 0.25}};
    const auto mean = CombineCohorts(cohorts, Length(parent), {});
    ASSERT_TRUE(mean.ok()) << mean.status();
    ASSERT_TRUE(strategy_->Apply(*mean, parent, state).ok());
  }
  std::unique_ptr<AggregationStrategy> strategy_;
};

// Sums in, adapter out: it is the plain weighted mean of the three nodes' adapters.
TEST_P(StrategyContractTest, MergeEqualsThePlainMeanOfTheNodesAdapters) {
  for (uint64_t parent : {0u, 1u, 2u}) {
    VersionState state = Version(parent - parent % strategy_->VersionsPerUpdate());
    parent -= parent % strategy_->VersionsPerUpdate();
    const Contribution contribution = strategy_->ContributionFor(parent);
    std::vector<engine::Adapter> trained;
    for (const float factor : {0.5f, -2.0f, 3.0f}) {
      trained.push_back(Trained(state, contribution, factor));
    }
    engine::Adapter wanted = state.adapter;
    constexpr float kWeights[] = {1.0f / 1.75f, 0.5f / 1.75f, 0.25f / 1.75f};
    for (size_t k = 0; k < 3; ++k) {
      const auto moved = engine::Subtract(trained[k], state.adapter);
      ASSERT_TRUE(engine::AddScaled(wanted, kWeights[k], *moved).ok());
    }
    for (uint64_t v = parent; v < parent + strategy_->VersionsPerUpdate(); ++v) {
      Merge(trained, v, state);
    }
    // Some roundings to f32 of products below 200.
    EXPECT_THAT(Products(state.adapter),
                testing::Pointwise(testing::DoubleNear(3e-4), Products(wanted)))
        << parent;
  }
}

TEST_P(StrategyContractTest, EveryServerOptimizerGoesWithItUnlessItSaysSo) {
  if (!strategy_->TakesServerOptimizer()) return;
  for (const char* name : {"plain", "momentum", "fedadagrad", "fedyogi", "fedadam"}) {
    ServerOptimizerConfig config;
    config.kind = ParseServerOptimizer(name).value();
    ServerState moments;
    VersionState state{SmallAdapter()};
    for (uint64_t parent = 0; parent < 4; ++parent) {
      const Contribution contribution = strategy_->ContributionFor(parent);
      const auto update = ServerStep(config, Ramp(Length(parent), 0.01f),
                                     engine::ContributionName(contribution), moments);
      ASSERT_TRUE(update.ok()) << name << ": " << update.status();
      ASSERT_TRUE(strategy_->Apply(*update, parent, state).ok());
    }
    EXPECT_NE(engine::Flatten(state.adapter), engine::Flatten(SmallAdapter())) << name;
  }
}

TEST_P(StrategyContractTest, LeavesWhatNobodySentAlone) {
  for (const uint64_t parent : {0u, 1u}) {
    const VersionState before = Version(parent);
    VersionState after = before;
    ASSERT_TRUE(strategy_->Apply(Ramp(Length(parent), 1.0f), parent, after).ok());
    const Contribution sent = strategy_->ContributionFor(parent);
    for (size_t i = 0; i < before.adapter.pairs.size(); ++i) {
      const bool a_same = after.adapter.pairs[i].a == before.adapter.pairs[i].a;
      const bool b_same = after.adapter.pairs[i].b == before.adapter.pairs[i].b;
      const bool nothing = sent == Contribution::kSketchLeft;  // a basis, and no new adapter yet
      EXPECT_EQ(a_same, nothing || sent == Contribution::kB || sent == Contribution::kCore);
      EXPECT_EQ(b_same, nothing || sent == Contribution::kA || sent == Contribution::kSharedA);
    }
  }
}

TEST_P(StrategyContractTest, RefusesAnUpdateOfAnotherLength) {
  for (const uint64_t parent : {0u, 1u}) {
    VersionState state = Version(parent);
    const std::vector<float> before = engine::Flatten(state.adapter);
    EXPECT_EQ(strategy_->Apply(Ramp(Length(parent) - 1, 1), parent, state).code(),
              absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(engine::Flatten(state.adapter), before);
  }
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
  VersionState state{SmallAdapter()};
  ASSERT_TRUE(strategy->Apply(Ramp(6, 1), 0, state).ok());
  EXPECT_EQ(engine::FlattenFactors(state.adapter, TrainedFactors::kB),
            engine::FlattenFactors(SmallAdapter(), TrainedFactors::kB));
}

TEST(SketchTest, TakesTwoVersionsAndLeavesNoBasis) {
  const auto strategy = MakeStrategy("sketch").value();
  EXPECT_EQ(strategy->ContributionFor(0), Contribution::kSketchLeft);
  EXPECT_EQ(strategy->ContributionFor(1), Contribution::kSketchRight);
  EXPECT_EQ(strategy->VersionsPerUpdate(), 2u);
  VersionState state{SmallAdapter()};
  const uint64_t right = engine::RightSketchLength(SmallAdapter());
  EXPECT_EQ(strategy->Apply(Ramp(right, 1), 1, state).code(),
            absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(strategy->Apply(Ramp(engine::LeftSketchLength(SmallAdapter()), 1), 0, state).ok());
  ASSERT_TRUE(state.basis.has_value());
  ASSERT_TRUE(strategy->Apply(Ramp(right, 1), 1, state).ok());
  EXPECT_FALSE(state.basis.has_value());
}

TEST(LatentTest, SendsCoresBetweenABasisOnceTheFirstRoundHasMadeOne) {
  const auto strategy = MakeStrategy("latent").value();
  EXPECT_EQ(strategy->ContributionFor(0), Contribution::kBoth);
  EXPECT_EQ(strategy->ContributionFor(1), Contribution::kCore);
  EXPECT_EQ(engine::ContributionLength(SmallAdapter(), Contribution::kCore), 5u);
  VersionState state{SmallAdapter()};
  EXPECT_EQ(strategy->Apply(Ramp(5, 1), 1, state).code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(strategy->Apply(Ramp(13, 0.5f), 0, state).ok());
  ASSERT_TRUE(state.basis.has_value());
  EXPECT_TRUE(engine::CheckBasis(*state.basis, state.adapter).ok());
  const engine::Adapter basis = *state.basis;
  ASSERT_TRUE(strategy->Apply(Ramp(5, 1), 1, state).ok());
  EXPECT_EQ(engine::Flatten(*state.basis), engine::Flatten(basis));
}

}  // namespace
}  // namespace choir::coordinator
