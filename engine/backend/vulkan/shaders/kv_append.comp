// cache[start + t] = x[t] in the cache's format (0 f32, 1 F16, 2 Q8_0); rows past the end of the
// cache are dropped. An invocation writes one element, of Q8_0 one block of 32. Groups
// (ceil(units of a row / 64), T).
// Two invocations may share a word of 16-bit halves: each changes its own half atomically.
#version 450
#extension GL_GOOGLE_include_directive : require
layout(local_size_x = 64) in;
layout(constant_id = 0) const uint kFormat = 0u;
layout(push_constant) uniform Params { uint x_at, start_at, cache_at, cols, cache_rows; } p;
layout(binding = 0, std430) readonly buffer X { float x[]; };
layout(binding = 1, std430) readonly buffer Start { int start[]; };
layout(binding = 2, std430) buffer Cache { uint cache[]; };

void StoreHalf(uint half_index, uint bits) {
  const uint word = p.cache_at + (half_index >> 1);
  const int shift = int(half_index & 1u) * 16;
  atomicAnd(cache[word], ~(0xffffu << shift));
  atomicOr(cache[word], bits << shift);
}

#include "half_bits.glsl"

uint ByteOf(float value, float inverse) {
  const float scaled = value * inverse;
  const float away = floor(abs(scaled) + 0.5);
  return uint(int(clamp(scaled < 0.0 ? -away : away, -127.0, 127.0))) & 255u;
}

void StoreBlock(uint x_at, uint half_at) {
  float largest = 0.0;
  for (uint i = 0u; i < 32u; ++i) largest = max(largest, abs(x[x_at + i]));
  const float d = largest / 127.0;
  const float inverse = d != 0.0 ? 1.0 / d : 0.0;
  StoreHalf(half_at, HalfBits(d));
  for (uint i = 0u; i < 16u; ++i) {
    const uint low = ByteOf(x[x_at + 2u * i], inverse);
    StoreHalf(half_at + 1u + i, low | ByteOf(x[x_at + 2u * i + 1u], inverse) << 8);
  }
}

void main() {
  const uint unit = gl_GlobalInvocationID.x;
  const uint units = kFormat == 2u ? p.cols / 32u : p.cols;
  const uint t = gl_WorkGroupID.y;
  const uint row = uint(start[p.start_at]) + t;
  if (unit >= units || row >= p.cache_rows) return;
  const uint x_row = p.x_at + t * p.cols;
  if (kFormat == 0u) {
    cache[p.cache_at + row * p.cols + unit] = floatBitsToUint(x[x_row + unit]);
  } else if (kFormat == 1u) {
    StoreHalf(row * p.cols + unit, HalfBits(x[x_row + unit]));
  } else {
    StoreBlock(x_row + unit * 32u, (row * units + unit) * 17u);
  }
}
