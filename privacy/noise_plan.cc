#include "privacy/noise_plan.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "base/check.h"
#include "base/status_macros.h"
#include "privacy/noise_rdp.h"

namespace choir::privacy {
namespace {

// Room for so many deviations of the sum's noise: beyond it lies less than 1e-22 of a word's noise.
constexpr double kRoom = 10;
// Finer grids than a deviation of so many steps say nothing more, and cost time or memory.
constexpr double kFinestGaussian = 1 << 20;
constexpr double kFinestSkellam = 1 << 12;

bool IsPositive(double value) {
  return std::isfinite(value) && value > 0;
}

absl::Status CheckQuery(const NoiseQuery& query) {
  if (!IsKnown(query.mechanism) || query.mechanism == Mechanism::kNone) {
    return absl::InvalidArgumentError(
        fmt::format("noise mechanism {} is unknown", static_cast<int>(query.mechanism)));
  }
  if (!IsPositive(query.noise_multiplier) || query.noise_multiplier < 0.01 ||
      query.noise_multiplier > 1e4) {
    return absl::InvalidArgumentError(
        fmt::format("noise multiplier {}; 0.01 to 10,000", query.noise_multiplier));
  }
  if (query.clip_bit_noise != 0 &&
      !(IsPositive(query.clip_bit_noise) && query.noise_multiplier < 2 * query.clip_bit_noise)) {
    return absl::InvalidArgumentError(fmt::format(
        "clip bit noise {} is too small: it must be above half the noise multiplier of {}",
        query.clip_bit_noise, query.noise_multiplier));
  }
  if (!IsPositive(query.clip_norm) || !IsPositive(query.range) || query.values == 0 ||
      query.min_cohort == 0 || query.max_cohort < query.min_cohort || query.value_bits < 2 ||
      query.value_bits > query.word_bits || query.word_bits > 32) {
    return absl::InvalidArgumentError("the noise plan's sizes make no sense");
  }
  return absl::OkStatus();
}

// z of the values alone, so that values and clip bit together have z.
double ValuesMultiplier(const NoiseQuery& query) {
  const double z = query.noise_multiplier;
  if (query.clip_bit_noise == 0) return z;
  const double bit = 2 * query.clip_bit_noise;
  return 1 / std::sqrt(1 / (z * z) - 1 / (bit * bit));
}

// At least half of a cohort's nodes carry the promised variance, so all of them at most twice that.
double Spread(Mechanism mechanism) {
  return IsDistributed(mechanism) ? std::sqrt(2.0) : 1;
}

double GridScale(const NoiseQuery& query, double z) {
  const double largest_word = std::ldexp(1.0, static_cast<int>(query.value_bits) - 1) - 1;
  double finest = query.mechanism == Mechanism::kSkellam ? kFinestSkellam : kFinestGaussian;
  if (IsDistributed(query.mechanism)) finest *= std::sqrt(static_cast<double>(query.min_cohort));
  // max_cohort * C * s + k * z * (S * s + sqrt(d)) <= the largest word of a sum.
  const double room = std::ldexp(1.0, static_cast<int>(query.word_bits) - 1) - 1;
  const double k = kRoom * Spread(query.mechanism) * z;
  const double fits = (room - k * (std::sqrt(static_cast<double>(query.values)) + 1)) /
                      (static_cast<double>(query.max_cohort) * query.range + k * query.clip_norm);
  return std::min({largest_word / query.range, finest / (z * query.clip_norm), fits});
}

absl::Status CheckPlan(const NoiseQuery& query, const NoisePlan& plan) {
  if (plan.clip_bit == 0 && query.clip_bit_noise != 0) {
    return absl::InvalidArgumentError("the clip bit is smaller than a step of the grid");
  }
  if (query.mechanism == Mechanism::kDiscreteGaussian &&
      plan.smallest_local < kLeastLocalDeviation) {
    return absl::InvalidArgumentError(fmt::format(
        "in a cohort of {} a node's own noise would have a deviation of {:.2f} grid steps, below "
        "the "
        "floor of {}: take wider words (ring_bits), a smaller codec_range, or more noise",
        query.max_cohort, plan.smallest_local, kLeastLocalDeviation));
  }
  if (plan.smallest_local < kLeastLocalDeviation / 5) {
    return absl::InvalidArgumentError("the grid is too coarse for any noise");
  }
  return absl::OkStatus();
}

}  // namespace

double RoundedNormBound(double norm, uint64_t values) {
  const double root = std::sqrt(static_cast<double>(values));
  // beta = e^(-1/2): sqrt(2 ln(1/beta)) = 1.
  const double likely = norm * norm + root * root / 4 + (norm + root / 2);
  return std::min(norm + root, std::sqrt(likely));
}

double NoisePlan::LocalDeviation(uint32_t survivors) const {
  CHOIR_CHECK(survivors > 0);
  return deviation / std::sqrt(static_cast<double>(survivors));
}

absl::StatusOr<NoisePlan> PlanNoise(const NoiseQuery& query) {
  CHOIR_RETURN_IF_ERROR(CheckQuery(query));
  const double z = ValuesMultiplier(query);
  NoisePlan plan;
  plan.mechanism = query.mechanism;
  plan.scale = GridScale(query, z);
  plan.max_word = static_cast<int64_t>(std::floor(std::max(0.0, plan.scale) * query.range));
  if (plan.max_word < 1) {
    return absl::InvalidArgumentError(fmt::format(
        "{} values of up to {} and their noise do not fit words of {} bits: take wider words "
        "(ring_bits)",
        query.values, query.range, query.word_bits));
  }
  plan.norm_bound = RoundedNormBound(query.clip_norm * plan.scale, query.values);
  plan.deviation = z * plan.norm_bound;
  plan.noised_words = query.values;
  if (query.clip_bit_noise != 0) {
    plan.clip_bit = static_cast<int64_t>(std::floor(plan.deviation / (2 * query.clip_bit_noise)));
    ++plan.noised_words;
  }
  plan.headroom = kRoom * Spread(query.mechanism) * plan.deviation;
  plan.smallest_local = plan.LocalDeviation(IsDistributed(query.mechanism) ? query.max_cohort : 1);
  CHOIR_RETURN_IF_ERROR(CheckPlan(query, plan));
  return plan;
}

RdpCurve CostOf(const NoisePlan& plan, uint32_t max_cohort) {
  NoisedSum sum;
  sum.l2 = std::hypot(plan.norm_bound, static_cast<double>(plan.clip_bit));
  sum.l1 = std::min(std::sqrt(static_cast<double>(plan.noised_words)) * sum.l2, sum.l2 * sum.l2);
  sum.deviation = plan.deviation;
  sum.dimension = plan.noised_words;
  switch (plan.mechanism) {
    case Mechanism::kDiscreteGaussian:
      return DiscreteGaussianSumRdp(sum, max_cohort, plan.smallest_local);
    case Mechanism::kSkellam:
      return SkellamRdp(sum);
    case Mechanism::kCentralGaussian:
      return GaussianRdp(plan.deviation / sum.l2);
    case Mechanism::kNone:
      break;
  }
  // Without noise nothing is promised.
  return RdpCurve::Of([](double) { return HUGE_VAL; });
}

}  // namespace choir::privacy
