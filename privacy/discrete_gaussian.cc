#include "privacy/discrete_gaussian.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace choir::privacy {
namespace {

__extension__ using U128 = unsigned __int128;

// sigma = k / 2^j with k of about so many bits.
constexpr int kBits = 12;

// A number y with probability proportional to e^(-|y|/t): algorithm 2 with s = 1.
int64_t SampleLaplace(uint64_t t, RandomBits& bits) {
  for (;;) {
    const uint64_t u = bits.Below(t);
    if (!bits.FlipExp(u, t)) continue;
    uint64_t v = 0;
    while (bits.FlipExp(1, 1)) ++v;
    const auto magnitude = static_cast<int64_t>(u + t * v);
    const bool negative = bits.Flip();
    if (negative && magnitude == 0) continue;  // zero has one sign
    return negative ? -magnitude : magnitude;
  }
}

}  // namespace

DiscreteGaussian::DiscreteGaussian(double deviation) {
  CHOIR_CHECK(deviation >= kLeastDeviation && deviation <= kLargestDeviation);
  int exponent = 0;
  std::frexp(deviation, &exponent);  // deviation < 2^exponent
  const int j = std::max(0, kBits + 1 - exponent);
  const auto k = static_cast<uint64_t>(std::ceil(std::ldexp(deviation, j)));
  deviation_ = std::ldexp(static_cast<double>(k), -j);
  if (j == 0) {
    // A whole sigma, and t = sigma: the fraction shortens to (|y| - sigma)^2 / (2 sigma^2).
    t_ = k;
    offset_ = k;
    denominator_ = 2 * k * k;
    return;
  }
  const uint64_t scale = uint64_t{1} << j;
  t_ = (k + scale - 1) / scale;
  factor_ = t_ * scale * scale;
  offset_ = k * k;
  denominator_ = 2 * (k * t_ * scale) * (k * t_ * scale);
}

int64_t DiscreteGaussian::Sample(RandomBits& bits) const {
  for (;;) {
    const int64_t y = SampleLaplace(t_, bits);
    const U128 at = U128{static_cast<uint64_t>(y < 0 ? -y : y)} * factor_;
    const U128 distance = at > offset_ ? at - offset_ : offset_ - at;
    const U128 square = distance * distance;
    auto whole = static_cast<uint64_t>(square / denominator_);
    const auto rest = static_cast<uint64_t>(square % denominator_);
    while (whole > 0 && bits.FlipExp(1, 1)) --whole;
    if (whole == 0 && bits.FlipExp(rest, denominator_)) return y;
  }
}

}  // namespace choir::privacy
