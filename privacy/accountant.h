#ifndef CHOIR_PRIVACY_ACCOUNTANT_H_
#define CHOIR_PRIVACY_ACCOUNTANT_H_

// The accountant: Rényi differential privacy (Mironov 2017) of what was published, and the
// (epsilon, delta) that follows from it. Pure arithmetic; the same numbers on every machine.

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"

namespace choir::privacy {

// The orders at which divergences are tracked: 1.1 to 10.9 by tenths, 11 to 63, 128, 256, 512,
// 1024.
std::span<const double> Orders();

// A divergence at each order. Composition is addition; it starts at zero (nothing was published).
class RdpCurve {
 public:
  RdpCurve();
  // at(order) for each order; an infinite value is one that gives no bound.
  template <typename At>
  static RdpCurve Of(At at) {
    RdpCurve curve;
    for (size_t i = 0; i < curve.values_.size(); ++i) curve.values_[i] = at(Orders()[i]);
    return curve;
  }

  RdpCurve& operator+=(const RdpCurve& other);
  // The same thing published `times` times.
  [[nodiscard]] RdpCurve Times(double times) const;
  [[nodiscard]] std::span<const double> values() const { return values_; }
  [[nodiscard]] bool IsZero() const;

 private:
  std::vector<double> values_;
};

// epsilon at `delta` in (0, 1): min over orders a of RDP(a) + ln(1 - 1/a) - ln(delta a)/(a - 1)
// (Canonne, Kamath, Steinke 2020, proposition 12). 0 for a curve that is zero, infinity if no order
// bounds it.
double EpsilonOf(const RdpCurve& curve, double delta);
// The order that gives EpsilonOf.
double BestOrder(const RdpCurve& curve, double delta);

// The Gaussian mechanism at sensitivity 1: a / (2 z^2).
RdpCurve GaussianRdp(double noise_multiplier);

// The Gaussian mechanism when each person takes part with probability `rate`, by a coin of its own
// (Poisson sampling): Mironov, Talwar, Zhang 2019, section 3.3, with the signs of the binomial
// coefficients. For planning only: cohorts of devices that happened to be there are no such sample,
// and no budget of Choir is accounted with a rate below 1.
RdpCurve SampledGaussianRdp(double noise_multiplier, double rate);

// The smallest noise multiplier (to 4 digits, rounded up) whose `rounds` rounds stay within epsilon
// at delta. OUT_OF_RANGE if even a multiplier of 10,000 does not.
absl::StatusOr<double> NoiseMultiplierFor(double epsilon, double delta, uint64_t rounds);

}  // namespace choir::privacy

#endif  // CHOIR_PRIVACY_ACCOUNTANT_H_
