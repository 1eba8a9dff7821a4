// The inner part of the three matrix products: a workgroup of 16 x 16 invocations holds a tile of
// 16*TM x 16*TN results in registers, TM x TN in each, and sums over k in steps of kStep through
// shared memory. Specialisation constants 0 and 1 are TM and TN.
#extension GL_EXT_control_flow_attributes : require
layout(local_size_x = 16, local_size_y = 16) in;
layout(constant_id = 0) const uint TM = 4u;
layout(constant_id = 1) const uint TN = 4u;
const uint kStep = 16u;
const uint kTileM = 16u * TM;
const uint kTileN = 16u * TN;
const uint kTileThreads = 256u;

shared float left_tile[kStep * kTileM];   // [k][m]
shared float right_tile[kStep * kTileN];  // [k][n]
float tile_sum[TM][TN];

void ClearTile() {
  [[unroll]] for (uint i = 0u; i < TM; ++i) {
    [[unroll]] for (uint j = 0u; j < TN; ++j) tile_sum[i][j] = 0.0;
  }
}

// tile_sum += left^T right. Call between two barriers.
void MultiplyTiles() {
  const uint tx = gl_LocalInvocationID.x;
  const uint ty = gl_LocalInvocationID.y;
  for (uint k = 0u; k < kStep; ++k) {
    float a[TM];
    float b[TN];
    [[unroll]] for (uint i = 0u; i < TM; ++i) a[i] = left_tile[k * kTileM + ty + 16u * i];
    [[unroll]] for (uint j = 0u; j < TN; ++j) b[j] = right_tile[k * kTileN + tx + 16u * j];
    [[unroll]] for (uint i = 0u; i < TM; ++i) {
      [[unroll]] for (uint j = 0u; j < TN; ++j) tile_sum[i][j] = fma(a[i], b[j], tile_sum[i][j]);
    }
  }
}
