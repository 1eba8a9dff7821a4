// dx[t][c] = alpha * sum_n dy[t][n] W[n][c]  +  sum_r v[t][r] A[r][c]  [+ acc[t][c]], as matmul_nn.comp;
// the first sum in fp16 (half_multiply.glsl), the second, LoRA's, in f32. scale: a power of two for
// each row of dy. acc may be dx itself. Groups (ceil(C/kTileN), ceil(T/kTileM)).
#version 450
#extension GL_GOOGLE_include_directive : require
#include "half_multiply.glsl"
layout(push_constant) uniform Params {
  uint dy_at, w_at, v_at, a_at, acc_at, dx_at, scale_at;
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
layout(binding = 6, std430) readonly buffer Scale { float scale[]; };

float LoadDy(uint m0, uint m, uint n) {
  const bool inside = m0 + m < p.tokens && n < p.rows;
  return inside ? left_scale[m] * dy[p.dy_at + (m0 + m) * p.ld_dy + n] : 0.0;
}

void AddAdapter(uint m0, uint c0) {
  for (uint r = 0u; r < p.rank; ++r) {
    float a[TN];
    [[unroll]] for (uint j = 0u; j < TN; ++j) {
      const uint c = c0 + TileColumn(j);
      a[j] = c < p.cols ? lora_a[p.a_at + r * p.cols + c] : 0.0;
    }
    [[unroll]] for (uint i = 0u; i < TM; ++i) {
      const uint t = m0 + TileRow(i);
      const float left = t < p.tokens ? v[p.v_at + t * p.rank + r] : 0.0;
      [[unroll]] for (uint j = 0u; j < TN; ++j) tile_sum[i][j] = fma(left, a[j], tile_sum[i][j]);
    }
  }
}

void main() {
  const uint lane = gl_LocalInvocationIndex;
  const uint m0 = gl_WorkGroupID.y * kTileM;
  const uint c0 = gl_WorkGroupID.x * kTileN;
  if (lane < kTileM) left_scale[lane] = m0 + lane < p.tokens ? scale[p.scale_at + m0 + lane] : 1.0;
  ClearTile();
  barrier();
  // Of W each invocation takes four columns of one row, at most twice (kTileN is 128 at most).
  const uint kQuadsN = kTileN / 4u;
  const uint kMost = 2u;
  uint parity = 0u;
  for (uint k0 = 0u; k0 < p.rows; k0 += kStep) {
    vec4 quads[kMost];
    [[unroll]] for (uint h = 0u; h < kMost; ++h) {
      const uint i = lane + h * kTileThreads;
      quads[h] = vec4(0.0);
      if (i >= kStep * kQuadsN) continue;
      const uint n = k0 + i / kQuadsN;
      const uint c = c0 + 4u * (i % kQuadsN);
      if (n < p.rows && c < p.cols) {
        quads[h] = LoadQuadBounded(p.w_at + n * p.row_bytes, c, p.cols);
      }
      const vec4 magnitudes = abs(quads[h]);
      SharePeak(parity, 2u * (i % kQuadsN), max(magnitudes.x, magnitudes.y));
      SharePeak(parity, 2u * (i % kQuadsN) + 1u, max(magnitudes.z, magnitudes.w));
    }
    for (uint i = lane; i < kPairsM * kStep; i += kTileThreads) {
      const uint m = 2u * (i / kStep);
      const uint n = k0 + i % kStep;
      left_tile[(i % kStep) * kLeftStride + i / kStep] =
          f16vec2(LoadDy(m0, m, n), LoadDy(m0, m + 1u, n));
    }
    barrier();
    [[unroll]] for (uint h = 0u; h < kMost; ++h) {
      const uint i = lane + h * kTileThreads;
      if (i >= kStep * kQuadsN) continue;
      const uint pair = 2u * (i % kQuadsN);
      const uint at = i / kQuadsN * kRightStride + pair;
      right_tile[at] = f16vec2(RightScale(parity, pair) * quads[h].xy);
      right_tile[at + 1u] = f16vec2(RightScale(parity, pair + 1u) * quads[h].zw);
    }
    barrier();
    MultiplyTiles(parity);
    barrier();
    parity = 1u - parity;
  }
  [[unroll]] for (uint i = 0u; i < TM; ++i) {
    const float back = p.alpha * Inverse(left_scale[TileRow(i)]);
    [[unroll]] for (uint j = 0u; j < TN; ++j) tile_sum[i][j] *= back;
  }
  AddAdapter(m0, c0);
  for (uint i = 0u; i < TM; ++i) {
    const uint t = m0 + TileRow(i);
    for (uint j = 0u; j < TN; ++j) {
      const uint c = c0 + TileColumn(j);
      if (t >= p.tokens || c >= p.cols) continue;
      float value = tile_sum[i][j];
      if (p.accumulate != 0u) value += acc[p.acc_at + t * p.cols + c];
      dx[p.dx_at + t * p.cols + c] = value;
    }
  }
}
