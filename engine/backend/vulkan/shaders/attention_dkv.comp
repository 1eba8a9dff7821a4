// dk[j] = sum_i ds[i][j] q[i], dv[j] = sum_i p[i][j] do[i], over the query heads that share this
// key/value head. One workgroup a key/value head and 16 keys; x runs over queries (and columns), y
// over keys. Groups (KV, ceil(T/16)).
#version 450
#extension GL_GOOGLE_include_directive : require
#include "attention_gradient.glsl"
layout(binding = 7, std430) writeonly buffer Dk { float dk[]; };
layout(binding = 8, std430) writeonly buffer Dv { float dv[]; };
shared float p_tile[kTile * kTile];   // [key][query]
shared float ds_tile[kTile * kTile];  // [key][query]
shared uint end_query;

void main() {
  const uint x = gl_LocalInvocationID.x;
  const uint y = gl_LocalInvocationID.y;
  const uint kv_head = gl_WorkGroupID.x;
  const uint group = p.heads / p.kv_heads;
  const uint j0 = gl_WorkGroupID.y * kTile;
  const uint j = j0 + y;
  // One past the last query that sees any key of the tile.
  if (gl_LocalInvocationIndex == 0u) end_query = j0;
  barrier();
  uint limit = p.tokens;
  if (p.window != 0u) limit = min(limit, j0 + kTile - 1u + p.window);
  for (uint i = j + x; i < limit; i += kTile) {
    if (j < p.tokens && Visible(i, j)) atomicMax(end_query, i + 1u);
  }
  barrier();

  float dk_sums[kColumns];
  float dv_sums[kColumns];
  for (uint c = 0u; c < kColumns; ++c) {
    dk_sums[c] = 0.0;
    dv_sums[c] = 0.0;
  }
  for (uint head = kv_head * group; head < (kv_head + 1u) * group; ++head) {
    for (uint i0 = j0; i0 < end_query; i0 += kTile) {
      const vec2 gradient = Gradient(head, kv_head, i0, j0, x, y);
      p_tile[y * kTile + x] = gradient.x;
      ds_tile[y * kTile + x] = gradient.y;
      barrier();
      const uint count = min(kTile, p.tokens - i0);
      for (uint n = 0u; n < count; ++n) {
        const uint row = QueryRow(i0 + n, head);
        for (uint c = 0u; c < kColumns; ++c) {
          const uint d = x + kTile * c;
          if (d >= p.head_size) continue;
          dk_sums[c] += ds_tile[y * kTile + n] * q[p.q_at + row + d];
          dv_sums[c] += p_tile[y * kTile + n] * d_o[p.do_at + row + d];
        }
      }
    }
  }
  if (j >= p.tokens) return;
  for (uint c = 0u; c < kColumns; ++c) {
    const uint d = x + kTile * c;
    if (d >= p.head_size) continue;
    dk[p.out0_at + KeyRow(j, kv_head) + d] = dk_sums[c];
    dv[p.out1_at + KeyRow(j, kv_head) + d] = dv_sums[c];
  }
}
