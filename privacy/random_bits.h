#ifndef CHOIR_PRIVACY_RANDOM_BITS_H_
#define CHOIR_PRIVACY_RANDOM_BITS_H_

// Random whole numbers and coins, exactly distributed, from a source of random bytes.

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/random.h"

namespace choir::privacy {

// Takes bytes from `source` (which must outlive it) in blocks, and wipes them. The same source
// gives the same numbers. Not thread-safe.
class RandomBits {
 public:
  explicit RandomBits(RandomSource& source) : source_(source) {}
  ~RandomBits();
  RandomBits(const RandomBits&) = delete;
  RandomBits& operator=(const RandomBits&) = delete;

  uint64_t Next64();
  bool Flip();
  // Uniform in [0, bound), without bias; bound > 0. Lemire 2019, "Fast Random Integer Generation in
  // an Interval".
  uint64_t Below(uint64_t bound);
  // True with probability e^(-numerator/denominator), numerator <= denominator: Canonne, Kamath,
  // Steinke 2020, algorithm 1.
  bool FlipExp(uint64_t numerator, uint64_t denominator);

 private:
  uint32_t Next32();
  void Take(uint8_t* out, size_t count);

  RandomSource& source_;
  std::array<uint8_t, 4096> block_{};
  size_t used_ = block_.size();
  uint32_t coins_ = 0;
  int coins_left_ = 0;
};

}  // namespace choir::privacy

#endif  // CHOIR_PRIVACY_RANDOM_BITS_H_
