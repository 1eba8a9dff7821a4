#include <cmath>
#include <map>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "privacy/discrete_gaussian.h"
#include "privacy/skellam.h"

namespace choir::privacy {
namespace {

class FixedSource final : public RandomSource {
 public:
  explicit FixedSource(uint64_t seed) : rng_(seed) {}
  void Fill(std::span<uint8_t> out) override {
    for (uint8_t& byte : out) byte = static_cast<uint8_t>(rng_.NextU64() >> 40);
  }

 private:
  SeededRng rng_;
};

// Chi-square of `counts` against probabilities that add up to 1, in standard deviations; cells of
// fewer than 20 expected draws are put together.
template <typename Density>
double ChiSquareInDeviations(const std::map<int64_t, double>& counts, double total, int64_t reach,
                             Density density) {
  double chi = 0;
  double rest_expected = total;
  double rest_found = total;
  int cells = 0;
  for (int64_t x = -reach; x <= reach; ++x) {
    const double expected = total * density(x);
    if (expected < 20) continue;
    const auto it = counts.find(x);
    const double found = it == counts.end() ? 0 : it->second;
    chi += (found - expected) * (found - expected) / expected;
    rest_expected -= expected;
    rest_found -= found;
    ++cells;
  }
  if (rest_expected > 5) {
    chi += (rest_found - rest_expected) * (rest_found - rest_expected) / rest_expected;
    ++cells;
  }
  return (chi - (cells - 1)) / std::sqrt(2.0 * (cells - 1));
}

template <typename Sampler>
std::map<int64_t, double> Draw(const Sampler& sampler, int count, uint64_t seed) {
  FixedSource source(seed);
  RandomBits bits(source);
  std::map<int64_t, double> counts;
  for (int i = 0; i < count; ++i) ++counts[sampler.Sample(bits)];
  return counts;
}

constexpr int kDraws = 400'000;
// Chi-square with a fixed seed: 5 deviations have a chance of some 1e-5 even for its heavier tail.
constexpr double kFarOff = 5;

TEST(DiscreteGaussianTest, HasTheExactDistribution) {
  for (const double deviation : {0.25, 0.8, 2.342, 2.5, 3.0, 9.0, 100.0}) {
    const DiscreteGaussian sampler(deviation);
    const double sigma = sampler.deviation();
    const auto reach = static_cast<int64_t>(12 * sigma + 3);
    const auto weight = [&](int64_t x) {
      return std::exp(-static_cast<double>(x * x) / (2 * sigma * sigma));
    };
    double norm = 0;
    for (int64_t x = -reach; x <= reach; ++x) norm += weight(x);
    const double off = ChiSquareInDeviations(Draw(sampler, kDraws, 7), kDraws, reach,
                                             [&](int64_t x) { return weight(x) / norm; });
    EXPECT_LT(std::abs(off), kFarOff) << deviation;
  }
}

TEST(DiscreteGaussianTest, LargeDeviationsHaveTheirMoments) {
  for (const double deviation : {4095.5, 4096.0, 1.0e6}) {
    const DiscreteGaussian sampler(deviation);
    FixedSource source(3);
    RandomBits bits(source);
    double sum = 0;
    double squares = 0;
    double fourth = 0;
    for (int i = 0; i < kDraws; ++i) {
      const double x = static_cast<double>(sampler.Sample(bits)) / deviation;
      sum += x;
      squares += x * x;
      fourth += x * x * x * x;
    }
    // Five standard errors of mean, variance (2/n) and fourth moment (96/n).
    EXPECT_NEAR(sum / kDraws, 0, 5 * std::sqrt(1.0 / kDraws)) << deviation;
    EXPECT_NEAR(squares / kDraws, 1, 5 * std::sqrt(2.0 / kDraws)) << deviation;
    EXPECT_NEAR(fourth / kDraws, 3, 5 * std::sqrt(96.0 / kDraws)) << deviation;
  }
}

TEST(DiscreteGaussianTest, RoundsTheDeviationUpByVeryLittle) {
  for (const double deviation : {0.25, 1.0, 2.5, 77.7, 4095.9, 4096.1, 1e6}) {
    const double sigma = DiscreteGaussian(deviation).deviation();
    EXPECT_GE(sigma, deviation);
    EXPECT_LE(sigma, deviation * (1 + 1.0 / 4096));
  }
}

// e^-v I_k(v) by its series.
double SkellamDensity(double variance, int64_t k) {
  double sum = 0;
  const auto n = static_cast<double>(std::abs(k));
  for (double j = 0; j < 40 * variance + 200; ++j) {
    sum += std::exp((2 * j + n) * std::log(variance / 2) - std::lgamma(j + 1) -
                    std::lgamma(j + n + 1) - variance);
  }
  return sum;
}

TEST(SkellamTest, HasTheDistribution) {
  for (const double deviation : {0.3, 1.0, 2.5, 7.25}) {
    const Skellam sampler(deviation);
    const auto reach = static_cast<int64_t>(14 * deviation + 20);
    const double off =
        ChiSquareInDeviations(Draw(sampler, kDraws, 11), kDraws, reach,
                              [&](int64_t x) { return SkellamDensity(deviation * deviation, x); });
    EXPECT_LT(std::abs(off), kFarOff) << deviation;
  }
}

TEST(SkellamTest, LargeDeviationsHaveTheirMoments) {
  const double deviation = 3000;
  const Skellam sampler(deviation);
  FixedSource source(5);
  RandomBits bits(source);
  double sum = 0;
  double squares = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double x = static_cast<double>(sampler.Sample(bits)) / deviation;
    sum += x;
    squares += x * x;
  }
  EXPECT_NEAR(sum / kDraws, 0, 5 * std::sqrt(1.0 / kDraws));
  EXPECT_NEAR(squares / kDraws, 1, 5 * std::sqrt(2.0 / kDraws));
}

TEST(RandomBitsTest, BelowIsUniformAndFlipExpHasItsProbability) {
  FixedSource source(1);
  RandomBits bits(source);
  std::vector<int> counts(7, 0);
  int heads = 0;
  constexpr int kTries = 70'000;
  for (int i = 0; i < kTries; ++i) {
    ++counts[bits.Below(7)];
    if (bits.FlipExp(3, 7)) ++heads;
    EXPECT_LT(bits.Below((uint64_t{1} << 33) + 1), (uint64_t{1} << 33) + 1);
  }
  for (const int count : counts) EXPECT_NEAR(count, 10'000, 5 * std::sqrt(10'000.0));
  const double p = std::exp(-3.0 / 7);
  EXPECT_NEAR(heads, p * kTries, 5 * std::sqrt(kTries * p * (1 - p)));
}

}  // namespace
}  // namespace choir::privacy
