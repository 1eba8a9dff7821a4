#include "secure-agg/core/codec.h"

#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "secure-agg/core/abort_reason.h"
#include "secure-agg/core/masking.h"

namespace choir::secagg {
namespace {

SecretBytes<32> Seed(uint8_t value) {
  return SecretBytes<32>(std::array<uint8_t, 32>{value});
}

CodecParams Params(uint32_t b, uint32_t q) {
  return {50, 1, b, q, 0.5, 2.0, 10};
}

struct Node {
  std::vector<float> delta = std::vector<float>(50, 0.01F);
  std::vector<double> extras = {-3.25};
  uint64_t examples = 5;
  double loss_sum = 12.5;
  uint64_t token_count = 1u << 20;
  [[nodiscard]] ClientValues values() const {
    return {delta, examples, loss_sum, token_count, extras};
  }
};

std::optional<AbortReason> EncodeReason(const Node& node) {
  return ReasonOf(EncodeValues(Params(32, 24), node.values(), Seed(1)).status());
}

TEST(CodecTest, OneNodeComesBack) {
  for (const auto& [b, q] : {std::pair{16u, 14u}, {16u, 4u}, {24u, 20u}, {32u, 30u}}) {
    Node node;
    const CodecParams params = Params(b, q);
    const auto packed = EncodeValues(params, node.values(), Seed(1)).value();
    EXPECT_EQ(packed.size(), PackedBytes(params));
    const CohortSum sum = DecodeSum(params, packed, 1).value();
    EXPECT_NEAR(sum.total_weight, 0.5, 1e-9);
    EXPECT_EQ(sum.loss_sum, 12.5);
    EXPECT_EQ(sum.token_count, 1u << 20);
    EXPECT_EQ(sum.extras[0], -3.25);
    // One step of the grid, in units of the weighted value, divided by the weight.
    const double step = 0.5 / static_cast<double>(MaxWord(params)) / 0.5;
    for (const float v : sum.mean_delta) EXPECT_NEAR(v, 0.01, step + 1e-7) << b << "/" << q;
  }
}

// The error of the mean is stated in codec.h: at most n C / (Q sum w), and it does not lean to a
// side.
TEST(CodecTest, RoundingIsUnbiased) {
  const CodecParams params = {20000, 0, 16, 6, 1.0, 1000.0, 1};
  Node node;
  node.delta.assign(20000, 0.013F);
  node.extras.clear();
  const auto packed = EncodeValues(params, node.values(), Seed(3)).value();
  const CohortSum sum = DecodeSum(params, packed, 1).value();
  double mean = 0;
  for (const float v : sum.mean_delta) mean += v / 20000.0;
  // Each value is 0 or 1/31 with a standard deviation below half a step; four of the mean's own.
  EXPECT_NEAR(mean, 0.013, 4 * 0.5 / 31 / std::sqrt(20000.0));
}

TEST(CodecTest, ClipsToTheNormAndSaysSo) {
  Node node;
  node.delta.assign(50, 1.0F);
  node.examples = 10;
  const CodecParams params = {50, 1, 32, 28, 1.0, 2.0, 10};
  const auto packed = EncodeValues(params, node.values(), Seed(1)).value();
  const CohortSum sum = DecodeSum(params, packed, 1).value();
  EXPECT_EQ(sum.num_clipped, 1u);
  double squares = 0;
  for (const float v : sum.mean_delta) squares += double{v} * double{v};
  EXPECT_NEAR(std::sqrt(squares), 2.0, 1e-6);
}

TEST(CodecTest, ValuesBeyondTheRangeSaturate) {
  Node node;
  node.delta.assign(50, 0.0F);
  node.delta[0] = 1.9F;
  node.delta[1] = -1.9F;
  node.examples = 10;
  const CodecParams params = {50, 1, 16, 12, 0.5, 10.0, 10};
  const auto packed = EncodeValues(params, node.values(), Seed(1)).value();
  const CohortSum sum = DecodeSum(params, packed, 1).value();
  EXPECT_NEAR(sum.mean_delta[0], 0.5, 1e-6);
  EXPECT_NEAR(sum.mean_delta[1], -0.5, 1e-6);
}

// q = b - log2(n): the most that n nodes can add up to is still told apart from its negative.
TEST(CodecTest, LargestSumOfAFullCohortDoesNotWrap) {
  const CodecParams params = {50, 1, 16, 11, 0.5, 1000.0, 10};
  Node node;
  node.delta.assign(50, 7.0F);
  node.delta[3] = -7.0F;
  node.examples = 10;
  const auto one = EncodeValues(params, node.values(), Seed(1)).value();
  std::vector<uint8_t> packed(one.size());
  for (int i = 0; i < 32; ++i) AddWords(packed, one, 16);
  const CohortSum sum = DecodeSum(params, packed, 32).value();
  EXPECT_NEAR(sum.mean_delta[0], 0.5, 1e-6);
  EXPECT_NEAR(sum.mean_delta[3], -0.5, 1e-6);
  EXPECT_EQ(sum.token_count, uint64_t{32} << 20);
}

TEST(CodecTest, SameSeedSameBytes) {
  const Node node;
  const auto first = EncodeValues(Params(16, 6), node.values(), Seed(1)).value();
  EXPECT_EQ(EncodeValues(Params(16, 6), node.values(), Seed(1)).value(), first);
  EXPECT_NE(EncodeValues(Params(16, 6), node.values(), Seed(2)).value(), first);
}

TEST(CodecTest, RefusesWhatIsNotFinite) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
        -std::numeric_limits<float>::infinity()}) {
    Node node;
    node.delta[49] = bad;
    EXPECT_EQ(EncodeReason(node), AbortReason::kBadValues);
  }
  Node loss;
  loss.loss_sum = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(EncodeReason(loss), AbortReason::kBadValues);
  Node extra;
  extra.extras[0] = 2147483648.0;
  EXPECT_EQ(EncodeReason(extra), AbortReason::kBadValues);
}

TEST(CodecTest, RefusesWrongLengthsAndNoExamples) {
  Node shorter;
  shorter.delta.pop_back();
  EXPECT_EQ(EncodeReason(shorter), AbortReason::kBadValues);
  Node extras;
  extras.extras.clear();
  EXPECT_EQ(EncodeReason(extras), AbortReason::kBadValues);
  Node empty;
  empty.examples = 0;
  EXPECT_EQ(EncodeReason(empty), AbortReason::kBadValues);
  Node tokens;
  tokens.token_count = uint64_t{1} << 47;
  EXPECT_EQ(EncodeReason(tokens), AbortReason::kBadValues);
}

TEST(CodecTest, SumOutOfBoundIsRefused) {
  const CodecParams params = Params(32, 16);
  auto packed = EncodeValues(params, Node().values(), Seed(1)).value();
  packed[2] = 1;  // 65536 in the first word; one node reaches 32767
  EXPECT_EQ(ReasonOf(DecodeSum(params, packed, 1).status()), AbortReason::kSumOutOfBound);
}

// Every limb is within its bound, but together they say a weight that one node cannot have.
TEST(CodecTest, ImpossibleTotalIsRefused) {
  const CodecParams params = Params(32, 16);
  auto packed = EncodeValues(params, Node().values(), Seed(1)).value();
  const size_t weight_limb_2 = 4 * (50 + kCheckWords + 2);  // units of 2^30 / 2^32
  packed[weight_limb_2] = 5;
  EXPECT_EQ(ReasonOf(DecodeSum(params, packed, 1).status()), AbortReason::kSumOutOfBound);
}

TEST(CodecTest, SumThatDoesNotCountItsNodesIsRefused) {
  const CodecParams params = Params(32, 16);
  const auto packed = EncodeValues(params, Node().values(), Seed(1)).value();
  EXPECT_EQ(ReasonOf(DecodeSum(params, packed, 2).status()), AbortReason::kSumInconsistent);
  EXPECT_FALSE(DecodeSum(params, std::span(packed).first(packed.size() - 1), 1).ok());
}

}  // namespace
}  // namespace choir::secagg
