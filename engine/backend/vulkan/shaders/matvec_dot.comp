// matvec.comp with sums of products of integers: sixteen weights at once, as four words of signed
// bytes, against the packed vector (pack_vector.comp). w[i] = scale * q[i] - minimum, so
//   sum w x = scale * x_scale * sum q v  -  minimum * sum x.
// y[t][n] = sum_c x[t][c] W[n][c]  +  beta * sum_r u[t][r] B[n][r]
// One workgroup kRows rows of W: groups (ceil(N/kRows)). Specialisation constant 0 is kTokens.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_arithmetic : enable
layout(local_size_x = 64) in;
layout(constant_id = 0) const uint kTokens = 1u;
const uint kThreads = 64u;
const uint kRows = 4u;
layout(push_constant) uniform Params {
  uint packed_at, w_at, u_at, b_at, y_at;
  uint tokens, cols, rows, row_bytes, ld_y, rank;
  float beta;
} p;
layout(binding = 0, std430) readonly buffer Packed { uvec4 packed_x[]; };
#define WEIGHT_BINDING 1
#include "weights.glsl"
#include "packed_dot.glsl"
// The build's include path has, for each format with this shader,
//   uvec4 LoadIntegers(uint row_byte, uint col)   q[col..col+15] (col % 16 == 0) as signed bytes
//   vec2 LoadScale(uint row_byte, uint col)       their scale and minimum
#include "quant_integers.glsl"
layout(binding = 2, std430) readonly buffer U { float u[]; };
layout(binding = 3, std430) readonly buffer B { float lora_b[]; };
layout(binding = 4, std430) writeonly buffer Y { float y[]; };
#include "reduce.glsl"

// At most 16 * 128 * 128 in either half: the sum of both stays below 2^27.
int Dot(uvec4 q, uvec4 high, uvec4 low) {
  int highs = 0;
  int lows = 0;
  for (uint i = 0u; i < 4u; ++i) {
    highs += PackedDot(q[i], high[i]);
    lows += PackedDot(q[i], low[i]);
  }
  return 256 * highs + lows;
}

void main() {
  const uint lane = gl_LocalInvocationIndex;
  const uint n0 = gl_WorkGroupID.x * kRows;
  const uint parts = p.cols / 16u;
  float sums[kRows][kTokens];
  for (uint i = 0u; i < kRows; ++i) {
    for (uint t = 0u; t < kTokens; ++t) sums[i][t] = 0.0;
  }
  for (uint part = lane; part < parts; part += kThreads) {
    uvec4 high[kTokens];
    uvec4 low[kTokens];
    vec2 meta[kTokens];  // scale, sum
    for (uint t = 0u; t < kTokens; ++t) {
      const uint at = p.packed_at / 4u + 3u * (min(t, p.tokens - 1u) * parts + part);
      high[t] = packed_x[at];
      low[t] = packed_x[at + 1u];
      meta[t] = uintBitsToFloat(packed_x[at + 2u].xy);
    }
    for (uint i = 0u; i < kRows; ++i) {
      if (n0 + i >= p.rows) continue;
      const uint row = p.w_at + (n0 + i) * p.row_bytes;
      const uvec4 q = LoadIntegers(row, 16u * part);
      const vec2 scale = LoadScale(row, 16u * part);
      for (uint t = 0u; t < kTokens; ++t) {
        sums[i][t] += scale.x * meta[t].x * float(Dot(q, high[t], low[t])) - scale.y * meta[t].y;
      }
    }
  }
  for (uint i = 0u; i < kRows; ++i) {
    for (uint t = 0u; t < kTokens; ++t) {
      const uint n = n0 + i;
      float lora = 0.0;
      if (n < p.rows && t < p.tokens) {
        for (uint r = lane; r < p.rank; r += kThreads) {
          lora += u[p.u_at + t * p.rank + r] * lora_b[p.b_at + n * p.rank + r];
        }
      }
      const float total = WorkgroupSum(sums[i][t] + p.beta * lora);
      if (lane == 0u && n < p.rows && t < p.tokens) y[p.y_at + t * p.ld_y + n] = total;
    }
  }
}
