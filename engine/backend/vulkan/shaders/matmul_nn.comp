// dx[t][c] = alpha * sum_n dy[t][n] W[n][c]  +  sum_r v[t][r] A[r][c]  [+ acc[t][c]]
// W: weight rows, A: f32 (LoRA; rank 0: none). N rows of this tile of W; dy has ld_dy columns, dy_at
// points to the tile's first. acc may be dx itself. Groups (ceil(C/kTileN), ceil(T/kTileM)).
#version 450
#extension GL_GOOGLE_include_directive : require
#include "tile_multiply.glsl"
layout(push_constant) uniform Params {
  uint dy_at, w_at, v_at, a_at, acc_at, dx_at;
  uint tokens, cols, rows, row_bytes, ld_dy, rank, accumulate;
  float alpha;
} p;
layout(binding = 0, std430) readonly buffer Dy { float dy[]; };
#define WEIGHT_BINDING 1
#include "weights.glsl"
layout(binding = 2, std430) readonly buffer V { float v[]; };
layout(binding = 3, std430) readonly buffer A { float lora_a[]; };
layout(binding = 4, std430) readonly buffer Acc { float acc[]; };
layout(binding = 5, std430) writeonly buffer Dx { float dx[]; };

void main() {
  const uint lane = gl_LocalInvocationIndex;
  const uint m0 = gl_WorkGroupID.y * kTileM;
  const uint c0 = gl_WorkGroupID.x * kTileN;
  ClearTile();
  for (uint k0 = 0u; k0 < p.rows; k0 += kStep) {
    for (uint i = lane; i < kTileM * kStep; i += kTileThreads) {
      const uint t = m0 + i / kStep;
      const uint n = k0 + i % kStep;
      const bool inside = t < p.tokens && n < p.rows;
      left_tile[(i % kStep) * kTileM + i / kStep] =
          inside ? p.alpha * dy[p.dy_at + t * p.ld_dy + n] : 0.0;
    }
    for (uint i = lane; i < kStep * (kTileN / 4u); i += kTileThreads) {
      const uint n = k0 + i / (kTileN / 4u);
      const uint c = 4u * (i % (kTileN / 4u));
      const bool inside = n < p.rows && c0 + c < p.cols;
      const vec4 quad =
          inside ? LoadQuadBounded(p.w_at + n * p.row_bytes, c0 + c, p.cols) : vec4(0.0);
      for (uint q = 0u; q < 4u; ++q) right_tile[(n - k0) * kTileN + c + q] = quad[q];
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
      left_tile[(i % kStep) * kTileM + i / kStep] = inside ? v[p.v_at + t * p.rank + r] : 0.0;
    }
    for (uint i = lane; i < kStep * kTileN; i += kTileThreads) {
      const uint r = k0 + i / kTileN;
      const uint c = c0 + i % kTileN;
      const bool inside = r < p.rank && c < p.cols;
      right_tile[i] = inside ? lora_a[p.a_at + r * p.cols + c] : 0.0;
    }
    barrier();
    MultiplyTiles();
    barrier();
  }
  for (uint i = 0u; i < TM; ++i) {
    const uint t = m0 + gl_LocalInvocationID.y + 16u * i;
    for (uint j = 0u; j < TN; ++j) {
      const uint c = c0 + gl_LocalInvocationID.x + 16u * j;
      if (t >= p.tokens || c >= p.cols) continue;
      float value = tile_sum[i][j];
      if (p.accumulate != 0u) value += acc[p.acc_at + t * p.cols + c];
      dx[p.dx_at + t * p.cols + c] = value;
    }
  }
}
