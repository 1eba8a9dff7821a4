#include "privacy/noise_plan.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace choir::privacy {
namespace {

NoiseQuery Query(Mechanism mechanism) {
  NoiseQuery query;
  query.mechanism = mechanism;
  query.noise_multiplier = 1.1;
  query.values = 1'000'000;
  query.word_bits = 32;
  query.value_bits = 27;
  query.min_cohort = 8;
  query.max_cohort = 32;
  return query;
}

TEST(NoisePlanTest, RoundedNormReferenceValues) {
  EXPECT_NEAR(RoundedNormBound(1000, 10'000), 1001.773427, 1e-6);
  EXPECT_NEAR(RoundedNormBound(10'000, 1'000'000), 10013.016528, 1e-6);
}

TEST(NoisePlanTest, EveryMechanismCostsWhatTheMultiplierSays) {
  const double gaussian = EpsilonOf(GaussianRdp(1.1).Times(10), 1e-5);
  for (const Mechanism m :
       {Mechanism::kDiscreteGaussian, Mechanism::kSkellam, Mechanism::kCentralGaussian}) {
    const auto plan = PlanNoise(Query(m));
    ASSERT_TRUE(plan.ok()) << plan.status();
    const double epsilon = EpsilonOf(CostOf(*plan, 32).Times(10), 1e-5);
    EXPECT_GE(epsilon, gaussian * (1 - 1e-12)) << MechanismName(m);
    EXPECT_NEAR(epsilon, gaussian, 1e-6 * gaussian) << MechanismName(m);
  }
}

TEST(NoisePlanTest, ValuesAndNoiseFitTheWordsOfASum) {
  for (const uint32_t bits : {16u, 24u, 32u}) {
    for (const Mechanism m : {Mechanism::kDiscreteGaussian, Mechanism::kSkellam}) {
      NoiseQuery query = Query(m);
      query.word_bits = bits;
      query.value_bits = bits - 5;
      query.values = 10'000;
      query.range = 0.1;
      const auto plan = PlanNoise(query);
      ASSERT_TRUE(plan.ok()) << bits << " " << plan.status();
      EXPECT_LE(32.0 * static_cast<double>(plan->max_word) + plan->headroom,
                std::ldexp(1.0, static_cast<int>(bits) - 1) - 1);
      // All 32 are there, and 16 would have been enough.
      EXPECT_GE(plan->headroom * (1 + 1e-12), 10 * plan->deviation * std::sqrt(32.0 / 16.0));
    }
  }
}

TEST(NoisePlanTest, ClipBitAndValuesShareTheMultiplier) {
  NoiseQuery query = Query(Mechanism::kDiscreteGaussian);
  query.clip_bit_noise = 2;
  const auto plan = PlanNoise(query);
  ASSERT_TRUE(plan.ok()) << plan.status();
  // z_values^-2 = z^-2 - (2 s_b)^-2: Andrew et al. 2021, theorem 1.
  EXPECT_NEAR(plan->deviation / plan->norm_bound, 1 / std::sqrt(1 / 1.21 - 1 / 16.0), 1e-12);
  // The whole of it costs z, and not a bit more: the bit is rounded down.
  const double both = std::hypot(plan->norm_bound, static_cast<double>(plan->clip_bit));
  EXPECT_GE(plan->deviation / both, 1.1 * (1 - 1e-12));
  EXPECT_NEAR(plan->deviation / both, 1.1, 1e-5);
  EXPECT_EQ(plan->noised_words, query.values + 1);
  query.clip_bit_noise = 0.55;
  EXPECT_THAT(PlanNoise(query).status().ToString(), testing::HasSubstr("above half"));
}

TEST(NoisePlanTest, RefusesNoiseThatIsTooCoarse) {
  NoiseQuery query = Query(Mechanism::kDiscreteGaussian);
  query.word_bits = 16;
  query.value_bits = 11;
  query.values = 10'000'000;
  EXPECT_THAT(PlanNoise(query).status().ToString(), testing::HasSubstr("wider words"));
  query.values = 100;
  query.range = 1000;  // a step is about a clip norm of 1
  EXPECT_THAT(PlanNoise(query).status().ToString(), testing::HasSubstr("floor of 2.5"));
}

TEST(NoisePlanTest, RefusesWhatMakesNoSense) {
  EXPECT_FALSE(PlanNoise(Query(Mechanism::kNone)).ok());
  EXPECT_FALSE(PlanNoise(Query(static_cast<Mechanism>(9))).ok());
  for (const double z : {0.0, -1.0, std::nan(""), HUGE_VAL, 1e5}) {
    NoiseQuery query = Query(Mechanism::kSkellam);
    query.noise_multiplier = z;
    EXPECT_FALSE(PlanNoise(query).ok()) << z;
  }
  for (const double clip : {0.0, -1.0, std::nan("")}) {
    NoiseQuery query = Query(Mechanism::kSkellam);
    query.clip_norm = clip;
    EXPECT_FALSE(PlanNoise(query).ok()) << clip;
  }
}

}  // namespace
}  // namespace choir::privacy
