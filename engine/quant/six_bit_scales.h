#ifndef CHOIR_ENGINE_QUANT_SIX_BIT_SCALES_H_
#define CHOIR_ENGINE_QUANT_SIX_BIT_SCALES_H_

#include <array>
#include <cstddef>
#include <cstdint>

namespace choir::engine {

// The eight scales and eight minima of Q4_K and Q5_K, 6 bits each in 12 bytes: groups 0 to 3 have
// their scales in the low six bits of bytes 0-3 and their minima in those of bytes 4-7; groups 4 to
// 7 have their low nibbles in bytes 8-11 (scale low, minimum high) and the upper two bits in what
// the first eight bytes leave free.
struct SixBitScales {
  std::array<int, 8> scales{};
  std::array<int, 8> mins{};
};

inline SixBitScales UnpackSixBitScales(const uint8_t* c) {
  SixBitScales out;
  for (size_t j = 0; j < 4; ++j) {
    out.scales[j] = c[j] & 63;
    out.mins[j] = c[j + 4] & 63;
    out.scales[j + 4] = (c[j + 8] & 15) | (c[j] >> 6 << 4);
    out.mins[j + 4] = (c[j + 8] >> 4) | (c[j + 4] >> 6 << 4);
  }
  return out;
}

// `scales` and `mins`: eight each, 0 to 63.
inline void PackSixBitScales(const int* scales, const int* mins, uint8_t* c) {
  for (size_t j = 0; j < 4; ++j) {
    c[j] = static_cast<uint8_t>(scales[j] | (scales[j + 4] >> 4 << 6));
    c[j + 4] = static_cast<uint8_t>(mins[j] | (mins[j + 4] >> 4 << 6));
    c[j + 8] = static_cast<uint8_t>((scales[j + 4] & 15) | ((mins[j + 4] & 15) << 4));
  }
}

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_QUANT_SIX_BIT_SCALES_H_
