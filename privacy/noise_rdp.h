#ifndef CHOIR_PRIVACY_NOISE_RDP_H_
#define CHOIR_PRIVACY_NOISE_RDP_H_

// Divergences of whole-numbered noise that many nodes add up.

#include <cstdint>

#include "privacy/accountant.h"

namespace choir::privacy {

// What one node may change in a sum of whole numbers, and the noise in it. All in grid steps.
struct NoisedSum {
  double l2 = 0;         // one node's largest L2 norm
  double l1 = 0;         // and L1 norm: at most min(sqrt(dimension) * l2, l2^2) for whole numbers
  double deviation = 0;  // standard deviation of the sum's noise, in each word
  uint64_t dimension = 0;
};

// How far the sum of n discrete Gaussians of deviation `local` is from one, in the sense of
// Kairouz, Liu, Steinke 2021, theorem 1: 10 * sum over k = 1 .. n-1 of exp(-2 pi^2 local^2 k / (k +
// 1)).
double DiscreteGaussianGap(uint32_t nodes, double local);

// `nodes` discrete Gaussians, each of deviation at least `local`, whose variances add up to at
// least deviation^2: Kairouz, Liu, Steinke 2021, "The Distributed Discrete Gaussian Mechanism",
// theorem 1.
RdpCurve DiscreteGaussianSumRdp(const NoisedSum& sum, uint32_t nodes, double local);

// Skellam noise, closed under addition: Agarwal, Kairouz, Liu 2021, "The Skellam Mechanism",
// theorem 3.5.
RdpCurve SkellamRdp(const NoisedSum& sum);

}  // namespace choir::privacy

#endif  // CHOIR_PRIVACY_NOISE_RDP_H_
