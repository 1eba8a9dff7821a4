#include "coordinator/strategy/slices.h"

#include <cmath>

#include <gtest/gtest.h>

namespace choir::coordinator {
namespace {

// (out 2, in 3, rank 2) and (out 1, in 1, rank 1).
engine::Adapter TwoPairs() {
  engine::Adapter adapter;
  adapter.pairs.push_back(
      {"blk.0.attn_q.weight", 2, 3, 2, std::vector<float>(6), std::vector<float>(4)});
  adapter.pairs.push_back(
      {"blk.0.attn_v.weight", 1, 1, 1, std::vector<float>(1), std::vector<float>(1)});
  return adapter;
}

TEST(SlicesTest, ComponentsAreRowsOfAAndColumnsOfB) {
  EXPECT_EQ(CountComponents(TwoPairs()), 2u);
  EXPECT_EQ(ComponentsOf(TwoPairs(), engine::Contribution::kBoth),
            (std::vector<uint32_t>{0, 0, 0, 1, 1, 1, 0, 1, 0, 1, 0, 0}));
  EXPECT_EQ(ComponentsOf(TwoPairs(), engine::Contribution::kB),
            (std::vector<uint32_t>{0, 1, 0, 1, 0}));
}

// Three nodes of weight 1, 0.5 and 0.25: all train component 0, the last two component 1, nobody
// component 2. Each component must be the plain mean over those who trained it.
TEST(SlicesTest, EachComponentIsTheMeanOfThoseWhoTrainedIt) {
  const double total = 1.75;
  const auto weights = ComponentWeights(std::vector<double>{7, 3, 0}, 4, total);
  ASSERT_TRUE(weights.ok()) << weights.status();
  EXPECT_EQ(*weights, (std::vector<double>{1.75, 0.75, 0}));
  std::vector<float> mean = {
      static_cast<float>((1.0 * 2 + 0.5 * 4 + 0.25 * 8) / total),
      static_cast<float>((0.5 * 3 + 0.25 * 6) / total),
      0.0f,
  };
  const std::vector<uint32_t> components = {0, 1, 2};
  ASSERT_TRUE(DivideByComponent(components, *weights, total, mean).ok());
  EXPECT_FLOAT_EQ(mean[0], static_cast<float>(6.0 / 1.75));
  EXPECT_FLOAT_EQ(mean[1], 4.0f);
  EXPECT_EQ(mean[2], 0.0f);
}

TEST(SlicesTest, ImpossibleWeightsAreDataLoss) {
  for (const double slot : {-1.0, 5.0, std::nan("")}) {
    EXPECT_EQ(ComponentWeights(std::vector<double>{slot}, 2, 2.0).status().code(),
              absl::StatusCode::kDataLoss)
        << slot;
  }
  EXPECT_TRUE(ComponentWeights(std::vector<double>{4.0}, 2, 2.0).ok());
}

TEST(SlicesTest, OtherCountsAreRefused) {
  std::vector<float> mean = {1, 2};
  EXPECT_FALSE(DivideByComponent(std::vector<uint32_t>{0}, std::vector<double>{1}, 1, mean).ok());
  EXPECT_FALSE(
      DivideByComponent(std::vector<uint32_t>{0, 1}, std::vector<double>{1}, 1, mean).ok());
}

}  // namespace
}  // namespace choir::coordinator
