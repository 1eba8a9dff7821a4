#ifndef CHOIR_PRIVACY_NOISE_PLAN_H_
#define CHOIR_PRIVACY_NOISE_PLAN_H_

// How a session's noise follows from its configuration: the grid on which values are rounded, the
// norm that rounding cannot break, the deviation of the noise, room for all of it in a word, and
// what one session costs. Pure; nodes and coordinator compute the same plan, and no message carries
// it.

#include <cstdint>

#include "absl/status/statusor.h"

#include "privacy/accountant.h"
#include "privacy/mechanism.h"

namespace choir::privacy {

// Below it, sums of discrete Gaussians are visibly no discrete Gaussian (Kairouz, Liu, Steinke
// 2021: the gap times the dimension is what counts, and at 2.5 it is below 1e-15 for any
// dimension).
inline constexpr double kLeastLocalDeviation = 2.5;

struct NoiseQuery {
  Mechanism mechanism = Mechanism::kNone;
  double noise_multiplier = 0;  // z: deviation of the sum's noise / one node's largest norm
  // Above 0, the sum also counts, under noise of this deviation, how many nodes were not clipped;
  // z then covers both together (Andrew et al. 2021).
  double clip_bit_noise = 0;
  double clip_norm = 1;  // S
  double range = 1;      // C: values beyond it saturate
  uint64_t values = 0;   // d
  uint32_t word_bits = 32;
  uint32_t value_bits = 24;  // a node's word without noise has at most so many
  // A session has so many nodes, and at least half of them are in any sum that can be opened.
  uint32_t min_cohort = 3;
  uint32_t max_cohort = 3;
};

struct NoisePlan {
  Mechanism mechanism = Mechanism::kNone;
  double scale = 1;           // grid steps a unit
  int64_t max_word = 0;       // |word| of a value before noise
  double norm_bound = 0;      // L2 norm, in grid steps, of one node's rounded values
  int64_t clip_bit = 0;       // a node that was not clipped adds this, one that was its negative
  double deviation = 0;       // of the noise in a sum with the fewest survivors, in grid steps
  uint64_t noised_words = 0;  // d, and one for the clip bit
  double headroom = 0;        // how far noise carries a sum beyond its values
  double smallest_local = 0;  // no node's own noise has a smaller deviation

  // The deviation of one node's noise where `survivors` nodes are assured.
  [[nodiscard]] double LocalDeviation(uint32_t survivors) const;
};

// INVALID_ARGUMENT, in words that name the settings: numbers out of range, z not below
// 2 * clip_bit_noise, no room for values and noise in a word, or a node's own noise below
// kLeastLocalDeviation.
absl::StatusOr<NoisePlan> PlanNoise(const NoiseQuery& query);

// What the sum of one session reveals of any node in it, with max_cohort nodes in the worst case.
RdpCurve CostOf(const NoisePlan& plan, uint32_t max_cohort);

// S~: the L2 norm, in grid steps, that stochastic rounding of `values` numbers of L2 norm `norm`
// stays within with probability 1 - e^(-1/2) at least; it is drawn again until it does (Kairouz,
// Liu, Steinke 2021, proposition 22). 1000 and 10,000 give 1001.773427.
double RoundedNormBound(double norm, uint64_t values);

}  // namespace choir::privacy

#endif  // CHOIR_PRIVACY_NOISE_PLAN_H_
