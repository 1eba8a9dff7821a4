#include "privacy/skellam.h"

#include <cfloat>
#include <cmath>

#include "base/check.h"

namespace choir::privacy {
namespace {

__extension__ using U128 = unsigned __int128;
#if defined(__SIZEOF_FLOAT128__)
__extension__ using Quad = __float128;
#else
using Quad = long double;
static_assert(LDBL_MANT_DIG >= 113, "the distribution function needs 113 bits");
#endif

constexpr int kGuideBits = 12;
constexpr double kTailBits = 112;  // the table ends where the density is 2^-112 of its peak

// ln(density at k / density at 0), to leading order.
double LogDecay(double variance, double k) {
  return -(k * std::asinh(k / variance) - std::hypot(k, variance) + variance);
}

uint32_t LastIndex(double variance) {
  double k = 1;
  while (LogDecay(variance, k) > -kTailBits * std::log(2.0)) k *= 1.02;
  return static_cast<uint32_t>(std::ceil(k)) + 8;
}

}  // namespace

Skellam::Skellam(double deviation) {
  CHOIR_CHECK(deviation >= kLeastDeviation && deviation <= kLargestDeviation);
  const double variance = deviation * deviation;
  FillTable(variance, LastIndex(variance));
  FillGuide();
}

// The density at k is e^-v I_k(v). Downwards, I_{k-1} = I_{k+1} + (2k/v) I_k only adds, so that it
// is stable (Miller); the sum over all k makes them probabilities.
void Skellam::FillTable(double variance, uint32_t last) {
  std::vector<Quad> density(last + 1);
  Quad above = 0;
  Quad here = 1;
  Quad total = 0;
  for (uint32_t k = last; k > 0; --k) {
    density[k] = 2 * here;  // k and -k
    total += density[k];
    const Quad below = above + 2 * Quad{static_cast<double>(k)} / Quad{variance} * here;
    above = here;
    here = below;
  }
  density[0] = here;
  total += here;
  constexpr U128 kOne = U128{1} << 127;
  const Quad scale = static_cast<Quad>(kOne) / total;
  at_most_.resize(last + 1);
  Quad sum = 0;
  for (uint32_t k = 0; k < last; ++k) {
    sum += density[k];
    const auto fixed = static_cast<U128>(sum * scale);
    at_most_[k] = {static_cast<uint64_t>(fixed >> 64), static_cast<uint64_t>(fixed)};
  }
  at_most_[last] = {uint64_t{1} << 63, 0};
}

void Skellam::FillGuide() {
  guide_.resize(size_t{1} << kGuideBits);
  uint32_t k = 0;
  for (size_t top = 0; top < guide_.size(); ++top) {
    const uint64_t smallest = uint64_t{top} << (63 - kGuideBits);
    while (at_most_[k].high < smallest) ++k;
    guide_[top] = k;
  }
}

int64_t Skellam::Sample(RandomBits& bits) const {
  const uint64_t draw = bits.Next64();
  const bool negative = (draw & 1) != 0;
  const uint64_t high = draw >> 1;
  uint32_t k = guide_[high >> (63 - kGuideBits)];
  while (at_most_[k].high < high) ++k;
  // Only where the first 63 bits tie do the others matter.
  if (at_most_[k].high == high) {
    const uint64_t low = bits.Next64();
    while (at_most_[k].high == high && at_most_[k].low <= low) ++k;
  }
  const auto magnitude = int64_t{k};
  return negative ? -magnitude : magnitude;
}

}  // namespace choir::privacy
