// The contract that every strategy of the table keeps, and what each promises beyond it.
#include "coordinator/strategy/strategy.h"

#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace choir::coordinator {
namespace {

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
    return engine::CountFactors(SmallAdapter(), strategy_->Factors(parent));
  }
  // The trained factors after a merge.
  std::vector<float> Merged(std::span<const CohortUpdate> cohorts, uint64_t parent,
                            float rate) const {
    engine::Adapter adapter = SmallAdapter();
    const absl::Status status = strategy_->Merge(cohorts, parent, rate, adapter);
    EXPECT_TRUE(status.ok()) << status;
    return engine::FlattenFactors(adapter, strategy_->Factors(parent));
  }
  std::unique_ptr<AggregationStrategy> strategy_;
};

TEST_P(StrategyContractTest, AddsTheMeanTimesTheRate) {
  for (const uint64_t parent : {0u, 1u, 2u}) {
    const std::vector<float> start =
        engine::FlattenFactors(SmallAdapter(), strategy_->Factors(parent));
    const std::vector<CohortUpdate> one = {{Ramp(Length(parent), 2.0f), 3.0}};
    const std::vector<float> got = Merged(one, parent, 0.5f);
    for (size_t i = 0; i < got.size(); ++i) {
      EXPECT_EQ(got[i], start[i] + static_cast<float>(i + 1)) << i;
    }
  }
}

TEST_P(StrategyContractTest, LeavesUntrainedFactorsAlone) {
  for (const uint64_t parent : {0u, 1u}) {
    engine::Adapter adapter = SmallAdapter();
    const std::vector<CohortUpdate> one = {{Ramp(Length(parent), 1.0f), 1.0}};
    ASSERT_TRUE(strategy_->Merge(one, parent, 1.0f, adapter).ok());
    const TrainedFactors factors = strategy_->Factors(parent);
    for (size_t i = 0; i < adapter.pairs.size(); ++i) {
      const bool a_same = adapter.pairs[i].a == SmallAdapter().pairs[i].a;
      const bool b_same = adapter.pairs[i].b == SmallAdapter().pairs[i].b;
      EXPECT_EQ(a_same, factors == TrainedFactors::kB);
      EXPECT_EQ(b_same, factors == TrainedFactors::kA);
    }
  }
}

TEST_P(StrategyContractTest, CohortsCountByTheirWeight) {
  const std::vector<CohortUpdate> two = {{Ramp(Length(0), 1.0f), 1.0},
                                         {Ramp(Length(0), 5.0f), 3.0}};
  const std::vector<CohortUpdate> mean = {{Ramp(Length(0), 4.0f), 4.0}};
  EXPECT_EQ(Merged(two, 0, 1.0f), Merged(mean, 0, 1.0f));
}

TEST_P(StrategyContractTest, RefusesWrongLengthNoWeightAndNothing) {
  engine::Adapter adapter = SmallAdapter();
  const auto code = [&](std::vector<CohortUpdate> cohorts) {
    return strategy_->Merge(cohorts, 0, 1.0f, adapter).code();
  };
  EXPECT_EQ(code({}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({{Ramp(Length(0) - 1, 1), 1.0}}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({{Ramp(Length(0), 1), 0.0}}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({{Ramp(Length(0), 1), std::numeric_limits<double>::infinity()}}),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(engine::FlattenFactors(adapter, TrainedFactors::kBoth),
            engine::FlattenFactors(SmallAdapter(), TrainedFactors::kBoth));
}

INSTANTIATE_TEST_SUITE_P(Table, StrategyContractTest, testing::ValuesIn(StrategyNames()),
                         [](const auto& entry) { return entry.param; });

TEST(StrategyTableTest, UnknownNameListsTheKnown) {
  const absl::Status status = MakeStrategy("fedsgd").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("alternating, fedavg"));
}

TEST(AlternatingTest, TrainsBFromEvenVersionsSoThatBIsFirst) {
  const auto strategy = MakeStrategy("alternating").value();
  EXPECT_EQ(strategy->Factors(0), TrainedFactors::kB);
  EXPECT_EQ(strategy->Factors(1), TrainedFactors::kA);
  EXPECT_EQ(strategy->Factors(2), TrainedFactors::kB);
}

TEST(FedAvgTest, TrainsBoth) {
  EXPECT_EQ(MakeStrategy("fedavg").value()->Factors(1), TrainedFactors::kBoth);
}

}  // namespace
}  // namespace choir::coordinator
