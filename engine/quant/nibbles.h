#ifndef CHOIR_ENGINE_QUANT_NIBBLES_H_
#define CHOIR_ENGINE_QUANT_NIBBLES_H_

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace choir::engine {

// Blocks of 32 values whose low four bits lie in 16 bytes: byte j holds value j in its low and
// value j + 16 in its high nibble. Used by Q4_0, Q4_1, Q5_0 and Q5_1.
inline constexpr size_t kNibbleBlock = 32;

inline int NibbleOf(const uint8_t* bytes, size_t i) {
  return i < 16 ? bytes[i] & 15 : bytes[i - 16] >> 4;
}

// `bytes` begin as zeros; value's low four bits count.
inline void PutNibble(uint8_t* bytes, size_t i, int value) {
  bytes[i % 16] |= static_cast<uint8_t>((value & 15) << (i < 16 ? 0 : 4));
}

// The element of largest magnitude, with its sign; the first of equals.
inline float LargestWithSign(const float* x, size_t count) {
  float largest = 0.0f;
  for (size_t i = 0; i < count; ++i) {
    if (std::fabs(x[i]) > std::fabs(largest)) largest = x[i];
  }
  return largest;
}

struct MinMax {
  float min = 0.0f;
  float max = 0.0f;
};
inline MinMax MinMaxOf(const float* x, size_t count) {
  const auto [min, max] = std::minmax_element(x, x + count);
  return {*min, *max};
}

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_QUANT_NIBBLES_H_
