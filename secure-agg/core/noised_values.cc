#include "secure-agg/core/noised_values.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "privacy/discrete_gaussian.h"
#include "privacy/random_bits.h"
#include "privacy/skellam.h"
#include "secure-agg/core/abort_reason.h"

namespace choir::secagg {
namespace {

// Each try keeps the bound with probability 1 - e^(-1/2) at least: after so many, something is
// wrong.
constexpr int kMostTries = 128;

// One stochastic rounding; returns the square of its norm.
double RoundOnce(std::span<const float> delta, double factor, int64_t max_word,
                 RandomSource& random, std::span<int64_t> words) {
  std::array<uint8_t, 4096> block{};
  size_t used = block.size();
  const auto limit = static_cast<double>(max_word);
  double square = 0;
  for (size_t i = 0; i < delta.size(); ++i) {
    if (used == block.size()) {
      random.Fill(block);
      used = 0;
    }
    uint32_t bits = 0;
    for (uint32_t k = 0; k < 4; ++k) bits |= uint32_t{block[used + k]} << (8 * k);
    used += 4;
    const double u = std::ldexp(static_cast<double>(bits), -32);
    const double x = std::clamp(std::floor(double{delta[i]} * factor + u), -limit, limit);
    square += x * x;
    words[i] = static_cast<int64_t>(x);
  }
  WipeBytes(block);
  return square;
}

template <typename Sampler>
void AddSamples(const Sampler& sampler, RandomSource& random, std::span<int64_t> words) {
  privacy::RandomBits bits(random);
  for (int64_t& word : words) word += sampler.Sample(bits);
}

}  // namespace

absl::StatusOr<std::vector<int64_t>> RoundedWords(const privacy::NoisePlan& plan,
                                                  std::span<const float> delta, double factor,
                                                  bool clipped, RandomSource& random) {
  std::vector<int64_t> words(plan.noised_words);
  const std::span<int64_t> values = std::span(words).first(delta.size());
  const double bound = plan.norm_bound * plan.norm_bound;
  bool kept = false;
  for (int i = 0; i < kMostTries && !kept; ++i) {
    kept = RoundOnce(delta, factor * plan.scale, plan.max_word, random, values) <= bound;
  }
  if (!kept) return Refusal(AbortReason::kBadValues, "no rounding keeps the norm's bound");
  if (plan.clip_bit != 0) words.back() = clipped ? -plan.clip_bit : plan.clip_bit;
  return words;
}

void AddNoise(const privacy::NoisePlan& plan, double deviation, RandomSource& random,
              std::span<int64_t> words) {
  if (plan.mechanism == NoiseMechanism::kSkellam) {
    AddSamples(privacy::Skellam(deviation), random, words);
  } else {
    AddSamples(privacy::DiscreteGaussian(deviation), random, words);
  }
}

}  // namespace choir::secagg
