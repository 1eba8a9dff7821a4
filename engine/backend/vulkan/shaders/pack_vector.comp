// A vector as 16-bit integers for matvec_dot.comp: elements of a block of 32 are v * scale, |v| at
// most 32639 = 127 * 256 + 127, v = 256 * high + low with both signed bytes. Sixteen elements are three
// uvec4: four words of highs, four of lows; the scale, their sum as f32, and two unused. An infinity or
// a NaN makes the scale and the sum of its block NaN. One invocation sixteen elements; C is a multiple
// of 32. Off by 2^-16 of a block's largest element at most.
#version 450
#extension GL_GOOGLE_include_directive : require
layout(local_size_x = 256) in;
layout(push_constant) uniform Params { uint x_at, packed_at, count; } p;
layout(binding = 0, std430) readonly buffer X { float x[]; };
layout(binding = 1, std430) writeonly buffer Packed { uvec4 packed_x[]; };
#include "flat_index.glsl"
const float kLargest = 32639.0;

void main() {
  const uint i = FlatIndex();
  if (i >= p.count / 16u) return;
  const uint block = p.x_at + i / 2u * 32u;
  uint bits = 0u;
  for (uint k = 0u; k < 32u; ++k) bits = max(bits, floatBitsToUint(x[block + k]) & 0x7fffffffu);
  const bool finite = bits < 0x7f800000u;
  const float peak = finite ? uintBitsToFloat(bits) : 0.0;
  // Below, 1 / peak would be infinite; such a block is as good as zero.
  const float inverse = peak > 1e-33 ? kLargest / peak : 0.0;
  int sum = 0;
  uvec4 high = uvec4(0u);
  uvec4 low = uvec4(0u);
  for (uint k = 0u; k < 16u; ++k) {
    const float element = x[block + i % 2u * 16u + k];
    const int v = finite ? int(round(element * inverse)) : 0;
    sum += v;
    const int h = (v + 128) >> 8;
    const uint shift = k % 4u * 8u;
    high[k / 4u] |= uint(h & 255) << shift;
    low[k / 4u] |= uint((v - h * 256) & 255) << shift;
  }
  const float scale = finite ? peak / kLargest : uintBitsToFloat(0x7fc00000u);
  const uint at = p.packed_at / 4u + 3u * i;
  packed_x[at] = high;
  packed_x[at + 1u] = low;
  packed_x[at + 2u] = uvec4(floatBitsToUint(scale), floatBitsToUint(scale * float(sum)), 0u, 0u);
}
