#include "engine/lora/contribution.h"

#include <gtest/gtest.h>

namespace choir::engine {
namespace {

Adapter TwoPairs() {
  Adapter adapter;
  adapter.pairs.push_back({"blk.0.attn_q.weight", 1, 2, 1, {1, 2}, {3}});
  adapter.pairs.push_back({"blk.0.attn_k.weight", 2, 1, 1, {4}, {5, 6}});
  return adapter;
}

TEST(ContributionTest, NamesRoundTripAndOthersAreRefused) {
  for (const char* name : {"both", "a", "b", "shared-a", "core", "sketch-left", "sketch-right"}) {
    EXPECT_EQ(ContributionName(ParseContribution(name).value()), name);
  }
  EXPECT_EQ(ParseContribution("shared-b").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(ContributionTest, SharedATrainsBothAndSendsAOnly) {
  EXPECT_EQ(TrainedBy(Contribution::kSharedA), TrainedFactors::kBoth);
  EXPECT_EQ(ContributionOf(TwoPairs(), Contribution::kSharedA), (std::vector<float>{1, 2, 4}));
  EXPECT_EQ(ContributionLength(TwoPairs(), Contribution::kSharedA), 3u);
  Adapter adapter = TwoPairs();
  ASSERT_TRUE(
      AddContribution(adapter, Contribution::kSharedA, 2, std::vector<float>{1, 0, 1}).ok());
  EXPECT_EQ(Flatten(adapter), (std::vector<float>{3, 2, 3, 6, 5, 6}));
}

}  // namespace
}  // namespace choir::engine
