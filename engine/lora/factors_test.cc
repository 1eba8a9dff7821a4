#include "engine/lora/factors.h"

#include <gtest/gtest.h>

namespace choir::engine {
namespace {

Adapter TwoPairs() {
  Adapter adapter;
  adapter.pairs.push_back({"blk.0.attn_q.weight", 1, 2, 1, {1, 2}, {3}});
  adapter.pairs.push_back({"blk.0.attn_k.weight", 2, 1, 1, {4}, {5, 6}});
  return adapter;
}

TEST(FactorsTest, FlattensInCanonicalOrder) {
  const Adapter adapter = TwoPairs();
  EXPECT_EQ(FlattenFactors(adapter, TrainedFactors::kBoth), (std::vector<float>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(FlattenFactors(adapter, TrainedFactors::kA), (std::vector<float>{1, 2, 4}));
  EXPECT_EQ(FlattenFactors(adapter, TrainedFactors::kB), (std::vector<float>{3, 5, 6}));
}

TEST(FactorsTest, AddsToTheChosenFactorsOnly) {
  Adapter adapter = TwoPairs();
  ASSERT_TRUE(AddToFactors(adapter, TrainedFactors::kB, 2, std::vector<float>{1, 0, 1}).ok());
  EXPECT_EQ(FlattenFactors(adapter, TrainedFactors::kBoth), (std::vector<float>{1, 2, 5, 4, 5, 8}));
  EXPECT_FALSE(AddToFactors(adapter, TrainedFactors::kB, 2, std::vector<float>{1}).ok());
}

TEST(FactorsTest, NamesRoundTrip) {
  for (const char* name : {"both", "a", "b"}) {
    EXPECT_EQ(TrainedFactorsName(ParseTrainedFactors(name).value()), name);
  }
  EXPECT_FALSE(ParseTrainedFactors("c").ok());
}

}  // namespace
}  // namespace choir::engine
