#ifndef CHOIR_PRIVACY_SKELLAM_H_
#define CHOIR_PRIVACY_SKELLAM_H_

#include <cstdint>
#include <vector>

#include "privacy/random_bits.h"

namespace choir::privacy {

// The difference of two Poisson numbers of mean variance/2 each. Sums of Skellam numbers are
// Skellam numbers, so any number of nodes that drop out leaves noise of a known distribution.
//
// By inversion of the distribution function, held to 127 bits: from 113-bit arithmetic, it is off
// by less than 2^-95 in all, and no epsilon or delta here has that many digits. Memory: 16 bytes
// for each of some 13 deviations.
class Skellam {
 public:
  static constexpr double kLeastDeviation = 0.25;
  static constexpr double kLargestDeviation = 1 << 14;

  explicit Skellam(double deviation);
  int64_t Sample(RandomBits& bits) const;

 private:
  struct Fixed {  // of 2^127
    uint64_t high = 0;
    uint64_t low = 0;
  };
  void FillTable(double variance, uint32_t last);
  void FillGuide();

  std::vector<Fixed> at_most_;   // [k]: probability that |x| <= k; the last one is 1
  std::vector<uint32_t> guide_;  // [top bits of a draw]: the first k that it can mean
};

}  // namespace choir::privacy

#endif  // CHOIR_PRIVACY_SKELLAM_H_
