// out[m][n] += alpha * sum_t a[t][m] b[t][n]: the gradient of a LoRA factor.
// a: (T, M), b: (T, N), out: (M, N). Groups (ceil(N/kTileN), ceil(M/kTileM)).
#version 450
#extension GL_GOOGLE_include_directive : require
#include "tile_multiply.glsl"
layout(push_constant) uniform Params {
  uint a_at, b_at, out_at;
  uint tokens, m, n;
  float alpha;
} p;
layout(binding = 0, std430) readonly buffer A { float a[]; };
layout(binding = 1, std430) readonly buffer B { float b[]; };
layout(binding = 2, std430) buffer Sum { float sum[]; };

void main() {
  const uint lane = gl_LocalInvocationIndex;
  const uint m0 = gl_WorkGroupID.y * kTileM;
  const uint n0 = gl_WorkGroupID.x * kTileN;
  ClearTile();
  for (uint k0 = 0u; k0 < p.tokens; k0 += kStep) {
    for (uint i = lane; i < kStep * kTileM; i += kTileThreads) {
      const uint t = k0 + i / kTileM;
      const uint m = m0 + i % kTileM;
      const bool inside = t < p.tokens && m < p.m;
      left_tile[i] = inside ? p.alpha * a[p.a_at + t * p.m + m] : 0.0;
    }
    for (uint i = lane; i < kStep * kTileN; i += kTileThreads) {
      const uint t = k0 + i / kTileN;
      const uint n = n0 + i % kTileN;
      const bool inside = t < p.tokens && n < p.n;
      right_tile[i] = inside ? b[p.b_at + t * p.n + n] : 0.0;
    }
    barrier();
    MultiplyTiles();
    barrier();
  }
  for (uint i = 0u; i < TM; ++i) {
    const uint m = m0 + gl_LocalInvocationID.y + 16u * i;
    for (uint j = 0u; j < TN; ++j) {
      const uint n = n0 + gl_LocalInvocationID.x + 16u * j;
      if (m < p.m && n < p.n) sum[p.out_at + m * p.n + n] += tile_sum[i][j];
    }
  }
}
