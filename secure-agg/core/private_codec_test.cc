#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "secure-agg/core/abort_reason.h"
#include "secure-agg/core/codec.h"
#include "secure-agg/core/masking.h"
#include "secure-agg/core/noised_values.h"

namespace choir::secagg {
namespace {

SecretBytes<32> Seed(uint8_t value) {
  return SecretBytes<32>(std::array<uint8_t, 32>{value});
}

CodecParams Private(NoiseMechanism mechanism, uint64_t length) {
  CodecParams params;
  params.delta_length = length;
  params.word_bits = 32;
  params.value_bits = 27;
  params.privacy = {mechanism, 1, 1e-5, 0};
  params.min_cohort = 5;
  params.max_cohort = 32;
  params.assured = 14;
  return params;
}

ClientValues Values(const std::vector<float>& delta) {
  return {delta, 7, 123.5, 4567, {}};
}

// The sum of `nodes` encodings of the same delta.
std::vector<uint8_t> SumOf(const CodecParams& params, const std::vector<float>& delta,
                           uint32_t nodes) {
  std::vector<uint8_t> sum(PackedBytes(params));
  for (uint32_t i = 0; i < nodes; ++i) {
    const auto packed = EncodeValues(params, Values(delta), Seed(static_cast<uint8_t>(i + 1)));
    EXPECT_TRUE(packed.ok()) << packed.status();
    AddWords(sum, *packed, params.word_bits);
  }
  return sum;
}

double DeviationOf(const std::vector<float>& values) {
  double square = 0;
  for (const float v : values) square += double{v} * double{v};
  return std::sqrt(square / static_cast<double>(values.size()));
}

// 14 are the fewest that can be summed: together they have the promised deviation, z * S.
TEST(PrivateCodecTest, FewestSurvivorsHaveThePromisedNoise) {
  constexpr uint64_t kLength = 20'000;
  const std::vector<float> nothing(kLength);
  for (const NoiseMechanism m : {NoiseMechanism::kDiscreteGaussian, NoiseMechanism::kSkellam}) {
    const CodecParams params = Private(m, kLength);
    const CohortSum sum = DecodeSum(params, SumOf(params, nothing, 14), 14).value();
    const double wanted = PlanOf(params)->deviation / PlanOf(params)->scale / 14;
    EXPECT_GE(wanted, 1.0 / 14);
    // Five standard errors of a deviation that so many draws tell.
    EXPECT_NEAR(DeviationOf(sum.mean_delta), wanted, 5 * wanted / std::sqrt(2.0 * kLength));
  }
}

TEST(PrivateCodecTest, CentralNoiseIsAddedOnceToTheSum) {
  constexpr uint64_t kLength = 20'000;
  const CodecParams params = Private(NoiseMechanism::kCentralGaussian, kLength);
  std::vector<uint8_t> sum = SumOf(params, std::vector<float>(kLength), 10);
  EXPECT_EQ(DeviationOf(DecodeSum(params, sum, 10)->mean_delta), 0);
  StreamSource random(Seed(99));
  ASSERT_TRUE(AddCentralNoise(params, sum, random).ok());
  const double wanted = PlanOf(params)->deviation / PlanOf(params)->scale / 10;
  EXPECT_NEAR(DeviationOf(DecodeSum(params, sum, 10)->mean_delta), wanted,
              5 * wanted / std::sqrt(2.0 * kLength));
}

// Three nodes at the largest words they may have, and noise on top: still a sum that is accepted.
TEST(PrivateCodecTest, SmallestCohortsHaveRoomForCentralNoise) {
  CodecParams params = Private(NoiseMechanism::kCentralGaussian, 2000);
  params.min_cohort = 3;
  params.max_cohort = 3;
  params.value_bits = 30;
  params.privacy.clip_bit_noise = 1;
  std::vector<float> delta(2000);
  delta[0] = 1;
  std::vector<uint8_t> sum = SumOf(params, delta, 3);
  StreamSource random(Seed(98));
  ASSERT_TRUE(AddCentralNoise(params, sum, random).ok());
  EXPECT_TRUE(DecodeSum(params, sum, 3).ok());
}

TEST(PrivateCodecTest, OtherMechanismsGetNoCentralNoise) {
  const CodecParams params = Private(NoiseMechanism::kDiscreteGaussian, 100);
  std::vector<uint8_t> sum = SumOf(params, std::vector<float>(100), 14);
  const std::vector<uint8_t> before = sum;
  StreamSource random(Seed(99));
  ASSERT_TRUE(AddCentralNoise(params, sum, random).ok());
  EXPECT_EQ(sum, before);
}

TEST(PrivateCodecTest, RoundingNeverBreaksTheNormsBound) {
  CodecParams params = Private(NoiseMechanism::kDiscreteGaussian, 400);
  params.word_bits = 16;
  params.value_bits = 11;
  params.range = 20;  // a coarse grid: rounding is what counts
  const privacy::NoisePlan plan = PlanOf(params).value();
  SeededRng rng(4);
  for (uint8_t i = 0; i < 100; ++i) {
    std::vector<float> delta(400);
    for (float& v : delta) v = static_cast<float>(rng.NextNormal());
    double norm = 0;
    for (const float v : delta) norm += double{v} * double{v};
    StreamSource random(Seed(i));
    const auto words = RoundedWords(plan, delta, 1 / std::sqrt(norm), false, random);
    ASSERT_TRUE(words.ok()) << words.status();
    double square = 0;
    for (const int64_t w : *words) square += static_cast<double>(w * w);
    EXPECT_LE(std::sqrt(square), plan.norm_bound);
  }
}

TEST(PrivateCodecTest, SameSeedSameWordsAnotherSeedOthers) {
  const CodecParams params = Private(NoiseMechanism::kSkellam, 50);
  const std::vector<float> delta(50, 0.01F);
  const auto first = EncodeValues(params, Values(delta), Seed(1)).value();
  EXPECT_EQ(EncodeValues(params, Values(delta), Seed(1)).value(), first);
  EXPECT_NE(EncodeValues(params, Values(delta), Seed(2)).value(), first);
}

TEST(PrivateCodecTest, NothingOfANodeIsToldBesideTheNoisedWords) {
  const CodecParams params = Private(NoiseMechanism::kDiscreteGaussian, 50);
  const std::vector<float> delta(50, 1.0F);
  ClientValues other = Values(delta);
  other.examples = 900;
  other.loss_sum = -5;
  other.token_count = 1;
  const size_t noised = 50 * 4;
  const auto a = EncodeValues(params, Values(delta), Seed(1)).value();
  const auto b = EncodeValues(params, other, Seed(2)).value();
  EXPECT_TRUE(std::equal(a.begin() + noised, a.end(), b.begin() + noised, b.end()));
}

TEST(PrivateCodecTest, ClipBitsGiveTheShareThatWasNotClipped) {
  CodecParams params = Private(NoiseMechanism::kCentralGaussian, 50);
  params.privacy.clip_bit_noise = 2;
  std::vector<uint8_t> sum(PackedBytes(params));
  for (uint8_t i = 0; i < 10; ++i) {
    const std::vector<float> delta(50, i < 3 ? 1.0F : 0.001F);  // three of ten are clipped
    AddWords(sum, EncodeValues(params, Values(delta), Seed(i)).value(), 32);
  }
  EXPECT_NEAR(DecodeSum(params, sum, 10)->unclipped_share.value(), 0.7, 1e-6);
  // The noise of the share is clip_bit_noise / n, to the rounding of the bit.
  const privacy::NoisePlan plan = PlanOf(params).value();
  EXPECT_NEAR(plan.deviation / (2 * static_cast<double>(plan.clip_bit)), 2, 1e-4);
}

TEST(PrivateCodecTest, ASumBeyondValuesAndNoiseIsRefused) {
  const CodecParams params = Private(NoiseMechanism::kDiscreteGaussian, 50);
  std::vector<uint8_t> sum = SumOf(params, std::vector<float>(50), 14);
  sum[3] = 0x7f;
  EXPECT_EQ(ReasonOf(DecodeSum(params, sum, 14).status()), AbortReason::kSumOutOfBound);
}

TEST(PrivateCodecTest, DistributedNoiseNeedsToKnowWhoIsAssured) {
  CodecParams params = Private(NoiseMechanism::kDiscreteGaussian, 50);
  const std::vector<float> delta(50);
  for (const uint32_t assured : {0u, 4u, 33u}) {
    params.assured = assured;
    EXPECT_EQ(ReasonOf(EncodeValues(params, Values(delta), Seed(1)).status()),
              AbortReason::kBadValues);
  }
}

}  // namespace
}  // namespace choir::secagg
