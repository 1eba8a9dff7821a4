// y[t][n] = sum_c x[t][c] W[n][c]  +  beta * sum_r u[t][r] B[n][r]
// W: weight rows, B: f32 (LoRA; rank 0: none). T tokens, N rows of this tile of W; y has ld_y columns,
// y_at points to the tile's first. Groups (ceil(N/kTileN), ceil(T/kTileM)).
#version 450
#extension GL_GOOGLE_include_directive : require
#include "tile_multiply.glsl"
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

void main() {
  const uint lane = gl_LocalInvocationIndex;
  const uint m0 = gl_WorkGroupID.y * kTileM;
  const uint n0 = gl_WorkGroupID.x * kTileN;
  ClearTile();
  for (uint k0 = 0u; k0 < p.cols; k0 += kStep) {
    for (uint i = lane; i < kTileM * kStep; i += kTileThreads) {
      const uint t = m0 + i / kStep;
      const uint c = k0 + i % kStep;
      const bool inside = t < p.tokens && c < p.cols;
      left_tile[(i % kStep) * kTileM + i / kStep] =
          inside ? x[p.x_at + t * p.cols + c] : 0.0;
    }
    for (uint i = lane; i < kTileN * (kStep / 4u); i += kTileThreads) {
      const uint row = i / (kStep / 4u);
      const uint k = 4u * (i % (kStep / 4u));
      const bool inside = n0 + row < p.rows && k0 + k < p.cols;
      const vec4 quad =
          inside ? LoadQuadBounded(p.w_at + (n0 + row) * p.row_bytes, k0 + k, p.cols) : vec4(0.0);
      for (uint q = 0u; q < 4u; ++q) right_tile[(k + q) * kTileN + row] = quad[q];
    }
    barrier();
    MultiplyTiles();
    barrier();
  }
  for (uint k0 = 0u; k0 < p.rank; k0 += kStep) {
    for (uint i = lane; i < kTileM * kStep; i += kTileThreads) {
      const uint t = m0 + i / kStep;
      const uint r = k0 + i % kStep;
      const bool inside = t < p.tokens && r < p.rank;
      left_tile[(i % kStep) * kTileM + i / kStep] =
          inside ? p.beta * u[p.u_at + t * p.rank + r] : 0.0;
    }
    for (uint i = lane; i < kTileN * kStep; i += kTileThreads) {
      const uint n = n0 + i / kStep;
      const uint r = k0 + i % kStep;
      const bool inside = n < p.rows && r < p.rank;
      right_tile[(i % kStep) * kTileN + i / kStep] =
          inside ? lora_b[p.b_at + n * p.rank + r] : 0.0;
    }
    barrier();
    MultiplyTiles();
    barrier();
  }
  for (uint i = 0u; i < TM; ++i) {
    const uint t = m0 + gl_LocalInvocationID.y + 16u * i;
    for (uint j = 0u; j < TN; ++j) {
      const uint n = n0 + gl_LocalInvocationID.x + 16u * j;
      if (t < p.tokens && n < p.rows) y[p.y_at + t * p.ld_y + n] = tile_sum[i][j];
    }
  }
}
