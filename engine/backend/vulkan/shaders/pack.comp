// An activation in fewer bits: BF16 (format 0), each value to nearest even, or Q8_0 (format 1), blocks of
// an f16 scale and 32 int8. One invocation writes whole words: two values, or two blocks; past the last
// one it writes zeros. `units`: values, or blocks.
#version 450
#extension GL_GOOGLE_include_directive : require
layout(local_size_x = 256) in;
layout(constant_id = 0) const uint kFormat = 0u;
layout(push_constant) uniform Params { uint x_at, packed_at, units; } p;
layout(binding = 0, std430) readonly buffer X { float x[]; };
layout(binding = 1, std430) writeonly buffer Packed { uint packed[]; };
#include "flat_index.glsl"
#include "half_bits.glsl"

uint Bf16Bits(float value) {
  const uint bits = floatBitsToUint(value);
  const bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
  return (is_nan ? bits | 0x400000u : bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
}

uint ByteOf(float value, float inverse) {
  const float scaled = abs(value * inverse);
  const float whole = trunc(scaled);
  const float away = min(scaled - whole >= 0.5 ? whole + 1.0 : whole, 127.0);
  return uint(int(value < 0.0 ? -away : away)) & 255u;
}

// The half word `i` of a block of 17.
uint HalfOfBlock(uint x_at, float d, float inverse, uint i) {
  if (i == 0u) return HalfBits(d);
  const uint at = x_at + 2u * (i - 1u);
  return ByteOf(x[at], inverse) | ByteOf(x[at + 1u], inverse) << 8;
}

void PackBlocks(uint pair) {
  float d[2] = {0.0, 0.0};
  float inverse[2] = {0.0, 0.0};
  for (uint b = 0u; b < 2u; ++b) {
    if (2u * pair + b >= p.units) break;
    float largest = 0.0;
    const uint x_at = p.x_at + (2u * pair + b) * 32u;
    for (uint i = 0u; i < 32u; ++i) largest = max(largest, abs(x[x_at + i]));
    d[b] = largest / 127.0;
    inverse[b] = d[b] != 0.0 ? 1.0 / d[b] : 0.0;
  }
  const uint last = min(2u * pair + 2u, p.units) * 17u;  // half words
  for (uint word = pair * 17u; word < pair * 17u + 17u; ++word) {
    uint halves[2] = {0u, 0u};
    for (uint side = 0u; side < 2u; ++side) {
      const uint half_at = 2u * word + side;
      if (half_at >= last) break;
      const uint block = half_at / 17u;
      const uint b = block & 1u;
      halves[side] = HalfOfBlock(p.x_at + block * 32u, d[b], inverse[b], half_at % 17u);
    }
    if (2u * word < last) packed[p.packed_at + word] = halves[0] | halves[1] << 16;
  }
}

void main() {
  const uint i = FlatIndex();
  if (2u * i >= p.units) return;
  if (kFormat == 1u) {
    PackBlocks(i);
    return;
  }
  const uint low = Bf16Bits(x[p.x_at + 2u * i]);
  const uint high = 2u * i + 1u < p.units ? Bf16Bits(x[p.x_at + 2u * i + 1u]) : 0u;
  packed[p.packed_at + i] = low | high << 16;
}
