// dq[i] = sum_j ds[i][j] k[j]. One workgroup a head and 16 queries; x runs over keys (and columns), y
// over queries. Groups (H, ceil(T/16)).
#version 450
#extension GL_GOOGLE_include_directive : require
#include "attention_gradient.glsl"
layout(binding = 7, std430) writeonly buffer Dq { float dq[]; };
shared float ds_tile[kTile * kTile];  // [query][key]
shared uint first_key;

void main() {
  const uint x = gl_LocalInvocationID.x;
  const uint y = gl_LocalInvocationID.y;
  const uint head = gl_WorkGroupID.x;
  const uint kv_head = head / (p.heads / p.kv_heads);
  const uint i0 = gl_WorkGroupID.y * kTile;
  const uint i = i0 + y;
  const uint end = min(i0 + kTile, p.tokens);
  if (gl_LocalInvocationIndex == 0u) first_key = end;
  barrier();
  const uint from = p.window != 0u && i0 + 1u > p.window ? i0 + 1u - p.window : 0u;
  for (uint j = from + x; j < end; j += kTile) {
    if (Visible(i, j)) {
      atomicMin(first_key, j);
      break;
    }
  }
  barrier();

  float sums[kColumns];
  for (uint c = 0u; c < kColumns; ++c) sums[c] = 0.0;
  for (uint j0 = first_key; j0 < end; j0 += kTile) {
    const float ds = Gradient(head, kv_head, i0, j0, y, x).y;
    ds_tile[y * kTile + x] = ds;
    barrier();
    const uint count = min(kTile, end - j0);
    for (uint n = 0u; n < count; ++n) {
      const float weight = ds_tile[y * kTile + n];
      for (uint c = 0u; c < kColumns; ++c) {
        const uint d = x + kTile * c;
        if (d < p.head_size) sums[c] += weight * k[p.k_at + KeyRow(j0 + n, kv_head) + d];
      }
    }
  }
  if (i >= p.tokens) return;
  for (uint c = 0u; c < kColumns; ++c) {
    const uint d = x + kTile * c;
    if (d < p.head_size) dq[p.out0_at + QueryRow(i, head) + d] = sums[c];
  }
}
