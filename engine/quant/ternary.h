#ifndef CHOIR_ENGINE_QUANT_TERNARY_H_
#define CHOIR_ENGINE_QUANT_TERNARY_H_

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "engine/quant/block_codec.h"
#include "engine/quant/half.h"

namespace choir::engine {

// 256 weights that are -d, 0 or d. TQ1_0 and TQ2_0 pack the digits differently.
inline constexpr size_t kTernaryBlock = 256;

struct TernaryDigits {
  uint16_t d = 0;                               // f16: the largest magnitude
  std::array<uint8_t, kTernaryBlock> digits{};  // 0, 1, 2 for -d, 0, d
};

// digit = x / d + 1, rounded half away from zero. Weights that are ternary already, with one scale
// a block, are kept but for the rounding of d to f16.
inline TernaryDigits ToTernary(const float* x) {
  float d = 0.0f;
  for (size_t i = 0; i < kTernaryBlock; ++i) d = std::max(d, std::fabs(x[i]));
  const float inverse = InverseOrZero(d);
  TernaryDigits ternary;
  ternary.d = F32ToF16(d);
  for (size_t i = 0; i < kTernaryBlock; ++i) {
    ternary.digits[i] = static_cast<uint8_t>(RoundTo(x[i] * inverse, -1, 1) + 1);
  }
  return ternary;
}

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_QUANT_TERNARY_H_
