// y[t][n] = sum_c x[t][c] W[n][c]  +  beta * sum_r u[t][r] B[n][r], as matmul_nt.comp; the first sum in
// fp16 (half_multiply.glsl), the second, LoRA's, in f32. scale: a power of two for each row of x.
// Groups (ceil(N/kTileN), ceil(T/kTileM)).
#version 450
#extension GL_GOOGLE_include_directive : require
#include "half_multiply.glsl"
layout(push_constant) uniform Params {
  uint x_at, w_at, u_at, b_at, y_at, scale_at;
  uint tokens, cols, rows, row_bytes, ld_y, rank;
  float beta;
} p;
layout(binding = 0, std430) readonly buffer X { float x[]; };
#define WEIGHT_BINDING 1
#include "weights.glsl"
layout(binding = 2, std430) readonly buffer U { float u[]; };
layout(binding = 3, std430) readonly buffer B { float lora_b[]; };
layout(binding = 4, std430) writeonly buffer Y { float y[]; };
layout(binding = 5, std430) readonly buffer Scale { float scale[]; };

float LoadX(uint m0, uint m, uint c) {
  const bool inside = m0 + m < p.tokens && c < p.cols;
  return inside ? left_scale[m] * x[p.x_at + (m0 + m) * p.cols + c] : 0.0;
}

vec4 LoadRow(uint n, uint k) {
  const bool inside = n < p.rows && k < p.cols;
  return inside ? LoadQuadBounded(p.w_at + n * p.row_bytes, k, p.cols) : vec4(0.0);
}

void AddAdapter(uint m0, uint n0) {
  for (uint r = 0u; r < p.rank; ++r) {
    float b[TN];
    [[unroll]] for (uint j = 0u; j < TN; ++j) {
      const uint n = n0 + TileColumn(j);
      b[j] = n < p.rows ? lora_b[p.b_at + n * p.rank + r] : 0.0;
    }
    [[unroll]] for (uint i = 0u; i < TM; ++i) {
      const uint t = m0 + TileRow(i);
      const float a = t < p.tokens ? p.beta * u[p.u_at + t * p.rank + r] : 0.0;
      [[unroll]] for (uint j = 0u; j < TN; ++j) tile_sum[i][j] = fma(a, b[j], tile_sum[i][j]);
    }
  }
}

void main() {
  const uint lane = gl_LocalInvocationIndex;
  const uint m0 = gl_WorkGroupID.y * kTileM;
  const uint n0 = gl_WorkGroupID.x * kTileN;
  if (lane < kTileM) left_scale[lane] = m0 + lane < p.tokens ? scale[p.scale_at + m0 + lane] : 1.0;
  ClearTile();
  barrier();
  // Of W each invocation takes four columns of two rows, or none.
  const uint pair = lane / (kStep / 4u);
  const uint k = 4u * (lane % (kStep / 4u));
  const bool takes = pair < kPairsN;
  uint parity = 0u;
  for (uint k0 = 0u; k0 < p.cols; k0 += kStep) {
    vec4 even = vec4(0.0);
    vec4 odd = vec4(0.0);
    if (takes) {
      even = LoadRow(n0 + 2u * pair, k0 + k);
      odd = LoadRow(n0 + 2u * pair + 1u, k0 + k);
      const vec4 largest = max(abs(even), abs(odd));
      SharePeak(parity, pair, max(max(largest.x, largest.y), max(largest.z, largest.w)));
    }
    for (uint i = lane; i < kPairsM * kStep; i += kTileThreads) {
      const uint m = 2u * (i / kStep);
      const uint c = k0 + i % kStep;
      left_tile[(i % kStep) * kLeftStride + i / kStep] =
          f16vec2(LoadX(m0, m, c), LoadX(m0, m + 1u, c));
    }
    barrier();
    if (takes) {
      const float factor = RightScale(parity, pair);
      [[unroll]] for (uint q = 0u; q < 4u; ++q) {
        right_tile[(k + q) * kRightStride + pair] = f16vec2(factor * even[q], factor * odd[q]);
      }
    }
    barrier();
    MultiplyTiles(parity);
    barrier();
    parity = 1u - parity;
  }
  [[unroll]] for (uint i = 0u; i < TM; ++i) {
    const float back = Inverse(left_scale[TileRow(i)]);
    [[unroll]] for (uint j = 0u; j < TN; ++j) tile_sum[i][j] *= back;
  }
  AddAdapter(m0, n0);
  for (uint i = 0u; i < TM; ++i) {
    const uint t = m0 + TileRow(i);
    for (uint j = 0u; j < TN; ++j) {
      const uint n = n0 + TileColumn(j);
      if (t < p.tokens && n < p.rows) y[p.y_at + t * p.ld_y + n] = tile_sum[i][j];
    }
  }
}
