#ifndef CHOIR_PRIVACY_DISCRETE_GAUSSIAN_H_
#define CHOIR_PRIVACY_DISCRETE_GAUSSIAN_H_

#include <cstdint>

#include "privacy/random_bits.h"

namespace choir::privacy {

// Whole numbers x with probability proportional to exp(-x^2 / (2 sigma^2)), exactly: Canonne,
// Kamath, Steinke 2020, "The Discrete Gaussian for Differential Privacy", algorithms 1 to 3, in
// integers alone. Floating point never decides, so its rounding cannot leak (Mironov 2012).
class DiscreteGaussian {
 public:
  static constexpr double kLeastDeviation = 0.25;
  static constexpr double kLargestDeviation = 1 << 22;

  // sigma is `deviation` rounded up by less than 2^-12 of it, to a fraction that the integers can
  // hold. Within the limits above.
  explicit DiscreteGaussian(double deviation);
  [[nodiscard]] double deviation() const { return deviation_; }
  int64_t Sample(RandomBits& bits) const;

 private:
  double deviation_ = 0;
  // A discrete Laplace number y of scale t is kept with probability
  // exp(-(|y| factor_ - offset_)^2 / denominator_) = exp(-(|y| - sigma^2/t)^2 / (2 sigma^2)).
  uint64_t t_ = 1;
  uint64_t factor_ = 1;
  uint64_t offset_ = 1;
  uint64_t denominator_ = 2;
};

}  // namespace choir::privacy

#endif  // CHOIR_PRIVACY_DISCRETE_GAUSSIAN_H_
