#ifndef CHOIR_ENGINE_QUANT_HALF_H_
#define CHOIR_ENGINE_QUANT_HALF_H_

#include <bit>
#include <cstdint>

namespace choir::engine {

// Conversions between f32 and the two 16-bit floats, by their bits. Round to nearest even,
// infinities and signed zeros kept, NaN stays NaN. Branch-free enough for the compiler to vectorise
// a loop of them, and independent of the flush-to-zero mode of the caller's thread.

// IEEE binary16 -> f32, exact.
inline float F16ToF32(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
  const uint32_t exponent = (bits >> 10) & 0x1fu;
  const uint32_t mantissa = bits & 0x3ffu;
  // Through an integer: a subnormal f16 is mantissa * 2^-24 and never a subnormal f32.
  const auto subnormal =
      std::bit_cast<uint32_t>(static_cast<float>(static_cast<int32_t>(mantissa)) * 0x1p-24f);
  const uint32_t rebias = exponent == 31 ? 255u - 31u : 127u - 15u;
  const uint32_t normal = ((exponent + rebias) << 23) | (mantissa << 13);
  return std::bit_cast<float>(sign | (exponent == 0 ? subnormal : normal));
}

// f32 -> IEEE binary16.
inline uint16_t F32ToF16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  // Normal: move the exponent, then round the 13 dropped bits to nearest, ties to even.
  const uint32_t normal = (magnitude - (112u << 23) + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  // Subnormal (below 2^-14): adding 0.5 leaves the rounded multiple of 2^-24 in the low bits.
  const uint32_t small = magnitude < (113u << 23) ? magnitude : 0u;
  const uint32_t subnormal =
      std::bit_cast<uint32_t>(std::bit_cast<float>(small) + 0.5f) - (126u << 23);
  const uint32_t special = magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u;  // quiet NaN, infinity
  uint32_t half = magnitude < (113u << 23) ? subnormal : normal;
  half = magnitude >= 0x477ff000u ? special : half;  // from 65520 on rounds to infinity
  return static_cast<uint16_t>(sign | half);
}

// bfloat16 -> f32, exact.
inline float Bf16ToF32(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

// f32 -> bfloat16.
inline uint16_t F32ToBf16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
  const uint32_t rounded = bits + 0x7fffu + ((bits >> 16) & 1u);
  return static_cast<uint16_t>((nan ? bits | 0x400000u : rounded) >> 16);
}

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_QUANT_HALF_H_
