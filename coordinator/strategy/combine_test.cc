#include "coordinator/strategy/combine.h"

#include <limits>

#include <gtest/gtest.h>

namespace choir::coordinator {
namespace {

std::vector<float> Combined(const std::vector<CohortUpdate>& cohorts, CombineOptions options) {
  auto out = CombineCohorts(cohorts, cohorts[0].mean_delta.size(), options);
  EXPECT_TRUE(out.ok()) << out.status();
  return out.value_or(std::vector<float>{});
}

TEST(CombineTest, MeanCountsCohortsByTheirWeight) {
  EXPECT_EQ(Combined({{{1, 2}, 1.0}, {{5, 10}, 3.0}}, {}), (std::vector<float>{4, 8}));
}

TEST(CombineTest, OneCohortIsLeftAsItIs) {
  for (const CombineRule rule :
       {CombineRule::kMean, CombineRule::kMedian, CombineRule::kTrimmedMean}) {
    EXPECT_EQ(Combined({{{0.1f, -3}, 2.0}}, {rule, 0.2}), (std::vector<float>{0.1f, -3}));
  }
}

TEST(CombineTest, MedianIsOfEachCoordinate) {
  EXPECT_EQ(Combined({{{1, 9}, 1.0}, {{2, -5}, 9.0}, {{1000, 7}, 1.0}}, {CombineRule::kMedian, 0}),
            (std::vector<float>{2, 7}));
  EXPECT_EQ(Combined({{{1}, 1.0}, {{2}, 1.0}, {{4}, 1.0}, {{900}, 1.0}}, {CombineRule::kMedian, 0}),
            (std::vector<float>{3}));
}

TEST(CombineTest, TrimmedMeanLeavesOutBothEnds) {
  const std::vector<CohortUpdate> five = {
      {{1}, 1.0}, {{2}, 1.0}, {{3}, 1.0}, {{7}, 1.0}, {{-1e6f}, 1.0}};
  EXPECT_EQ(Combined(five, {CombineRule::kTrimmedMean, 0.2}), (std::vector<float>{2}));
  // Rounded down to nothing: the plain mean of all.
  EXPECT_EQ(Combined({{{1}, 1.0}, {{3}, 9.0}}, {CombineRule::kTrimmedMean, 0.4}),
            (std::vector<float>{2}));
  EXPECT_EQ(Combined(five, {CombineRule::kTrimmedMean, 0.49}), (std::vector<float>{2}));
}

TEST(CombineTest, OneCohortOfLiarsMovesTheMeanAndNotTheMedian) {
  const std::vector<CohortUpdate> cohorts = {{{1}, 1.0}, {{1.1f}, 1.0}, {{1e9f}, 1.0}};
  EXPECT_GT(Combined(cohorts, {})[0], 1e8f);
  EXPECT_EQ(Combined(cohorts, {CombineRule::kMedian, 0})[0], 1.1f);
}

TEST(CombineTest, RefusesWrongLengthNoWeightAndNothing) {
  const auto code = [](const std::vector<CohortUpdate>& cohorts) {
    return CombineCohorts(cohorts, 2, {}).status().code();
  };
  EXPECT_EQ(code({}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({{{1}, 1.0}}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({{{1, 2}, 0.0}}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({{{1, 2}, std::numeric_limits<double>::infinity()}}),
            absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(ParseCombineRule("krum").ok());
}

}  // namespace
}  // namespace choir::coordinator
