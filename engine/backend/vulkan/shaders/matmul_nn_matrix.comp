// dx[t][c] = alpha * sum_n dy[t][n] W[n][c]  +  sum_r v[t][r] A[r][c]  [+ acc[t][c]], as matmul_nn.comp;
// the first sum by cooperative matrices (matrix_multiply.glsl), the second, LoRA's, in f32. scale: a
// power of two for each row of dy. acc may be dx itself. Groups (ceil(C/64), ceil(T/64)).
#version 450
#extension GL_GOOGLE_include_directive : require
#include "matrix_multiply.glsl"
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

void StoreResult(uint row, uint column, float value) {
  const uint t = gl_WorkGroupID.y * kTile + row;
  const uint c = gl_WorkGroupID.x * kTile + column;
  if (t >= p.tokens || c >= p.cols) return;
  float sum = p.alpha * value;
  for (uint r = 0u; r < p.rank; ++r) {
    sum += v[p.v_at + t * p.rank + r] * lora_a[p.a_at + r * p.cols + c];
  }
  if (p.accumulate != 0u) sum += acc[p.acc_at + t * p.cols + c];
  dx[p.dx_at + t * p.cols + c] = sum;
}

void main() {
  const uint lane = gl_LocalInvocationIndex;
  const uint m0 = gl_WorkGroupID.y * kTile;
  const uint c0 = gl_WorkGroupID.x * kTile;
  for (uint i = lane; i < kTile; i += kThreads) {
    left_scale[i] = m0 + i < p.tokens ? scale[p.scale_at + m0 + i] : 1.0;
  }
  ClearTile();
  barrier();
  for (uint k0 = 0u; k0 < p.rows; k0 += kStep) {
    vec4 quads[kQuads];
    float magnitude = 0.0;
    [[unroll]] for (uint h = 0u; h < kQuads; ++h) {
      const uint i = lane + h * kThreads;
      const uint n = k0 + i / (kTile / 4u);
      const uint c = c0 + 4u * (i % (kTile / 4u));
      quads[h] = vec4(0.0);
      if (n < p.rows && c < p.cols) quads[h] = LoadQuadBounded(p.w_at + n * p.row_bytes, c, p.cols);
      const vec4 each = abs(quads[h]);
      magnitude = max(magnitude, max(max(each.x, each.y), max(each.z, each.w)));
    }
    for (uint i = lane; i < kTile * kStep; i += kThreads) {
      const uint m = i / kStep;
      const uint n = k0 + i % kStep;
      const bool inside = m0 + m < p.tokens && n < p.rows;
      left_tile[m * kLeftStride + i % kStep] =
          float16_t(inside ? left_scale[m] * dy[p.dy_at + (m0 + m) * p.ld_dy + n] : 0.0);
    }
    FitScale(magnitude);
    [[unroll]] for (uint h = 0u; h < kQuads; ++h) {
      const uint i = lane + h * kThreads;
      const uint at = i / (kTile / 4u) * kRightStride + 4u * (i % (kTile / 4u));
      for (uint q = 0u; q < 4u; ++q) right_tile[at + q] = float16_t(right_scale * quads[h][q]);
    }
    barrier();
    MultiplyTiles();
    barrier();
  }
  StoreTile();
}
