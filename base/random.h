#ifndef CHOIR_BASE_RANDOM_H_
#define CHOIR_BASE_RANDOM_H_

#include <cstdint>
#include <span>

namespace choir {

// Where random bytes come from. Passed in, so that tests can fix them. Thread-safe.
class RandomSource {
 public:
  virtual ~RandomSource() = default;
  virtual void Fill(std::span<uint8_t> out) = 0;
};

// The operating system's cryptographic source. The only one for keys, seeds, nonces and tokens.
class SystemRandom final : public RandomSource {
 public:
  void Fill(std::span<uint8_t> out) override;
};

// Reproducible numbers for shuffles and initial weights: never for secrets.
// SplitMix64 (Steele, Lea, Flood 2014): the same on every machine for one seed.
class SeededRng {
 public:
  explicit SeededRng(uint64_t seed) : state_(seed) {}
  uint64_t NextU64();
  // Uniform in [0, 1), 53 bits.
  double NextUnit();
  // Uniform in [0, bound), without modulo bias; bound > 0.
  uint64_t NextBelow(uint64_t bound);
  // Standard normal (Box-Muller).
  double NextNormal();

 private:
  uint64_t state_;
};

}  // namespace choir

#endif  // CHOIR_BASE_RANDOM_H_
