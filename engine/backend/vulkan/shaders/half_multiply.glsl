// The inner part of the products in fp16, as tile_multiply.glsl: a workgroup of 16 x 16 invocations
// holds a tile of 16*TM x 16*TN results, TM x TN in each, TM and TN even. Factors are staged as pairs
// of fp16: of the left one rows scaled by row_scales.comp (the caller divides at the end), of the
// right one pairs of columns scaled anew in each step. Sixteen products add up in fp16, as pairs; the
// rest in f32. Error of a product: 2^-11 of either factor, of a short sum about as much again.
#extension GL_EXT_control_flow_attributes : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
layout(local_size_x = 16, local_size_y = 16) in;
layout(constant_id = 0) const uint TM = 4u;
layout(constant_id = 1) const uint TN = 4u;
const uint kStep = 16u;
const uint kTileM = 16u * TM;
const uint kTileN = 16u * TN;
const uint kTileThreads = 256u;
const uint kPairsM = 8u * TM;
const uint kPairsN = 8u * TN;
// One more than the pairs: neighbours in k then lie in different banks.
const uint kLeftStride = kPairsM + 1u;
const uint kRightStride = kPairsN + 1u;

shared f16vec2 left_tile[kStep * kLeftStride];    // [k][pair of rows]
shared f16vec2 right_tile[kStep * kRightStride];  // [k][pair of columns]
shared float left_scale[kTileM];
shared uint right_peak[2u * kPairsN];  // bits of the largest magnitude; steps use them in turn
float tile_sum[TM][TN];

#include "half_scale.glsl"

// Of the tile; results i, j of an invocation.
uint TileRow(uint i) { return 2u * (gl_LocalInvocationID.y + 16u * (i / 2u)) + i % 2u; }
uint TileColumn(uint j) { return 2u * (gl_LocalInvocationID.x + 16u * (j / 2u)) + j % 2u; }

void ClearPeaks(uint parity) {
  const uint lane = gl_LocalInvocationIndex;
  if (lane < kPairsN) right_peak[parity * kPairsN + lane] = 0u;
}
void SharePeak(uint parity, uint pair, float magnitude) {
  atomicMax(right_peak[parity * kPairsN + pair], floatBitsToUint(magnitude));
}
float RightScale(uint parity, uint pair) { return HalfScale(right_peak[parity * kPairsN + pair]); }

void ClearTile() {
  ClearPeaks(0u);
  [[unroll]] for (uint i = 0u; i < TM; ++i) {
    [[unroll]] for (uint j = 0u; j < TN; ++j) tile_sum[i][j] = 0.0;
  }
}

// tile_sum += left^T right, the left scales still in it. Call between two barriers.
void MultiplyTiles(uint parity) {
  const uint tx = gl_LocalInvocationID.x;
  const uint ty = gl_LocalInvocationID.y;
  f16vec2 part[TM][TN / 2u];
  [[unroll]] for (uint i = 0u; i < TM; ++i) {
    [[unroll]] for (uint j = 0u; j < TN / 2u; ++j) part[i][j] = f16vec2(0.0);
  }
  for (uint k = 0u; k < kStep; ++k) {
    f16vec2 a[TM / 2u];
    f16vec2 b[TN / 2u];
    [[unroll]] for (uint i = 0u; i < TM / 2u; ++i) a[i] = left_tile[k * kLeftStride + ty + 16u * i];
    [[unroll]] for (uint j = 0u; j < TN / 2u; ++j) b[j] = right_tile[k * kRightStride + tx + 16u * j];
    [[unroll]] for (uint i = 0u; i < TM; ++i) {
      const f16vec2 both = i % 2u == 0u ? a[i / 2u].xx : a[i / 2u].yy;
      [[unroll]] for (uint j = 0u; j < TN / 2u; ++j) part[i][j] = fma(both, b[j], part[i][j]);
    }
  }
  [[unroll]] for (uint j = 0u; j < TN / 2u; ++j) {
    const float back = Inverse(RightScale(parity, tx + 16u * j));
    [[unroll]] for (uint i = 0u; i < TM; ++i) {
      tile_sum[i][2u * j] = fma(float(part[i][j].x), back, tile_sum[i][2u * j]);
      tile_sum[i][2u * j + 1u] = fma(float(part[i][j].y), back, tile_sum[i][2u * j + 1u]);
    }
  }
  // Last read before the barrier that came before these tiles.
  ClearPeaks(1u - parity);
}
