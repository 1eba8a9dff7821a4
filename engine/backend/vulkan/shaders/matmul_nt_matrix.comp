// y[t][n] = sum_c x[t][c] W[n][c]  +  beta * sum_r u[t][r] B[n][r], as matmul_nt.comp; the first sum by
// cooperative matrices (matrix_multiply.glsl), the second, LoRA's, in f32. scale: a power of two for
// each row of x. Groups (ceil(N/64), ceil(T/64)).
#version 450
#extension GL_GOOGLE_include_directive : require
#define RIGHT_BY_COLUMN
#include "matrix_multiply.glsl"
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

void StoreResult(uint row, uint column, float value) {
  const uint t = gl_WorkGroupID.y * kTile + row;
  const uint n = gl_WorkGroupID.x * kTile + column;
  if (t >= p.tokens || n >= p.rows) return;
  float lora = 0.0;
  for (uint r = 0u; r < p.rank; ++r) {
    lora += u[p.u_at + t * p.rank + r] * lora_b[p.b_at + n * p.rank + r];
  }
  y[p.y_at + t * p.ld_y + n] = value + p.beta * lora;
}

void main() {
  const uint lane = gl_LocalInvocationIndex;
  const uint m0 = gl_WorkGroupID.y * kTile;
  const uint n0 = gl_WorkGroupID.x * kTile;
  for (uint i = lane; i < kTile; i += kThreads) {
    left_scale[i] = m0 + i < p.tokens ? scale[p.scale_at + m0 + i] : 1.0;
  }
  ClearTile();
  barrier();
  for (uint k0 = 0u; k0 < p.cols; k0 += kStep) {
    vec4 quads[kQuads];
    float magnitude = 0.0;
    [[unroll]] for (uint h = 0u; h < kQuads; ++h) {
      const uint i = lane + h * kThreads;
      const uint n = n0 + i / (kStep / 4u);
      const uint c = k0 + 4u * (i % (kStep / 4u));
      quads[h] = vec4(0.0);
      if (n < p.rows && c < p.cols) quads[h] = LoadQuadBounded(p.w_at + n * p.row_bytes, c, p.cols);
      const vec4 each = abs(quads[h]);
      magnitude = max(magnitude, max(max(each.x, each.y), max(each.z, each.w)));
    }
    for (uint i = lane; i < kTile * kStep; i += kThreads) {
      const uint m = i / kStep;
      const uint c = k0 + i % kStep;
      const bool inside = m0 + m < p.tokens && c < p.cols;
      left_tile[m * kLeftStride + i % kStep] =
          float16_t(inside ? left_scale[m] * x[p.x_at + (m0 + m) * p.cols + c] : 0.0);
    }
    FitScale(magnitude);
    [[unroll]] for (uint h = 0u; h < kQuads; ++h) {
      const uint i = lane + h * kThreads;
      const uint at = i / (kStep / 4u) * kRightStride + 4u * (i % (kStep / 4u));
      for (uint q = 0u; q < 4u; ++q) right_tile[at + q] = float16_t(right_scale * quads[h][q]);
    }
    barrier();
    MultiplyTiles();
    barrier();
  }
  StoreTile();
}
