#include "base/random.h"

#include <cmath>
#include <numbers>

#include <sodium.h>

#include "base/check.h"

namespace choir {

void SystemRandom::Fill(std::span<uint8_t> out) {
  // sodium_init is idempotent and thread-safe.
  CHOIR_CHECK(sodium_init() >= 0);
  randombytes_buf(out.data(), out.size());
}

uint64_t SeededRng::NextU64() {
  state_ += 0x9e3779b97f4a7c15u;
  uint64_t z = state_;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

double SeededRng::NextUnit() {
  return static_cast<double>(NextU64() >> 11) * 0x1p-53;
}

uint64_t SeededRng::NextBelow(uint64_t bound) {
  CHOIR_CHECK(bound > 0);
  const uint64_t limit = UINT64_MAX - UINT64_MAX % bound;
  uint64_t value = NextU64();
  while (value >= limit) value = NextU64();
  return value % bound;
}

double SeededRng::NextNormal() {
  const double u = 1.0 - NextUnit();  // (0, 1]: the logarithm is finite
  const double v = NextUnit();
  return std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * std::numbers::pi * v);
}

}  // namespace choir
