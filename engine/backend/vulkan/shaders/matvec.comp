// matmul_nt for at most kTokens tokens (generation): reads each weight once, coalesced.
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
  uint x_at, w_at, u_at, b_at, y_at;
  uint tokens, cols, rows, row_bytes, ld_y, rank;
  float beta;
} p;
layout(binding = 0, std430) readonly buffer X { float x[]; };
#define WEIGHT_BINDING 1
#include "weights.glsl"
layout(binding = 2, std430) readonly buffer U { float u[]; };
layout(binding = 3, std430) readonly buffer B { float lora_b[]; };
layout(binding = 4, std430) writeonly buffer Y { float y[]; };
#include "reduce.glsl"

vec4 LoadX(uint t, uint c) {
  const uint at = p.x_at + t * p.cols + c;
  vec4 quad;
  for (uint i = 0u; i < 4u; ++i) quad[i] = c + i < p.cols ? x[at + i] : 0.0;
  return quad;
}

void main() {
  const uint lane = gl_LocalInvocationIndex;
  const uint n0 = gl_WorkGroupID.x * kRows;
  float sums[kRows][kTokens];
  for (uint i = 0u; i < kRows; ++i) {
    for (uint t = 0u; t < kTokens; ++t) sums[i][t] = 0.0;
  }
  for (uint c = 4u * lane; c < p.cols; c += 4u * kThreads) {
    vec4 quads[kTokens];
    for (uint t = 0u; t < kTokens; ++t) quads[t] = t < p.tokens ? LoadX(t, c) : vec4(0.0);
    for (uint i = 0u; i < kRows; ++i) {
      if (n0 + i >= p.rows) continue;
      const vec4 w = LoadQuadBounded(p.w_at + (n0 + i) * p.row_bytes, c, p.cols);
      for (uint t = 0u; t < kTokens; ++t) sums[i][t] += dot(w, quads[t]);
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
