#include "engine/ops/dropout_mask.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

namespace choir::engine {
namespace {

// From the authors' own test vectors (Random123, kat_vectors).
TEST(DropoutMaskTest, PhiloxGivesThePublishedWords) {
  constexpr uint32_t kAll = std::numeric_limits<uint32_t>::max();
  EXPECT_EQ(Philox4x32({0, 0, 0, 0}, {0, 0}),
            (PhiloxBlock{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(Philox4x32({kAll, kAll, kAll, kAll}, {kAll, kAll}),
            (PhiloxBlock{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (PhiloxBlock{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

RefTensor Ones(int64_t rows, int64_t cols) {
  return {{rows, cols}, std::vector<double>(static_cast<size_t>(rows * cols), 1.0), {}};
}

RefTensor Masked(double rate, double site, const std::vector<int32_t>& key, int64_t rows,
                 int64_t cols) {
  const Attrs attrs = {{"dropout", rate}, {"dropout_site", site}};
  return DropoutMask::Of(attrs).With(key.data()).Apply(Ones(rows, cols));
}

TEST(DropoutMaskTest, DropsItsShareAndKeepsTheMean) {
  for (const double rate : {0.05, 0.5, 0.9}) {
    const RefTensor out = Masked(rate, 0, {1, 2, 3}, 128, 512);
    double dropped = 0;
    double sum = 0;
    for (const double value : out.values) {
      dropped += value == 0 ? 1 : 0;
      sum += value;
    }
    const auto count = static_cast<double>(out.values.size());
    // Five standard deviations of a binomial share.
    const double slack = 5 * std::sqrt(rate * (1 - rate) / count);
    EXPECT_NEAR(dropped / count, rate, slack);
    EXPECT_NEAR(sum / count, 1, slack / (1 - rate));
  }
}

TEST(DropoutMaskTest, SeedMicroBatchAndSiteEachGiveAnotherMask) {
  const std::vector<double> mask = Masked(0.5, 0, {1, 2, 3}, 4, 64).values;
  EXPECT_EQ(Masked(0.5, 0, {1, 2, 3}, 4, 64).values, mask);
  EXPECT_NE(Masked(0.5, 1, {1, 2, 3}, 4, 64).values, mask);
  EXPECT_NE(Masked(0.5, 0, {2, 2, 3}, 4, 64).values, mask);
  EXPECT_NE(Masked(0.5, 0, {1, 3, 3}, 4, 64).values, mask);
  EXPECT_NE(Masked(0.5, 0, {1, 2, 4}, 4, 64).values, mask);
}

}  // namespace
}  // namespace choir::engine
