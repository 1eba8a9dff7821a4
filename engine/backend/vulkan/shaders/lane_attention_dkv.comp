// dk[j] = sum_i ds[i][j] q[i], dv[j] = sum_i p[i][j] do[i], as attention_dkv.comp; one invocation a key
// and key/value head. Groups (KV, ceil(T/8)).
#version 450
#extension GL_GOOGLE_include_directive : require
#include "lane_attention.glsl"
layout(push_constant) uniform Params {
  uint do_at, q_at, k_at, v_at, lse_at, delta_at, segment_at, dk_at, dv_at;
  uint tokens, heads, kv_heads, window;
  float scale, softcap;
} p;
layout(binding = 0) uniform textureBuffer do_texels;
layout(binding = 1) uniform textureBuffer q_texels;
layout(binding = 2) uniform textureBuffer k_texels;
layout(binding = 3) uniform textureBuffer v_texels;
layout(binding = 4, std430) readonly buffer Lse { float lse[]; };
layout(binding = 5, std430) readonly buffer Delta { float delta[]; };
layout(binding = 6, std430) readonly buffer Segment { int segment[]; };
layout(binding = 7, std430) writeonly buffer Dk { vec4 dk[]; };
layout(binding = 8, std430) writeonly buffer Dv { vec4 dv[]; };

void main() {
  const uint kv_head = gl_WorkGroupID.x;
  const uint group = p.heads / p.kv_heads;
  const uint j = min(gl_WorkGroupID.y * kLanes + gl_LocalInvocationIndex, p.tokens - 1u);
  const uint key_row = (j * p.kv_heads + kv_head) * kQuads;
  vec4 k[kQuads];
  vec4 v[kQuads];
  vec4 dk_sums[kQuads];
  vec4 dv_sums[kQuads];
  [[unroll]] for (uint d = 0u; d < kQuads; ++d) {
    k[d] = texelFetch(k_texels, int(p.k_at + key_row + d));
    v[d] = texelFetch(v_texels, int(p.v_at + key_row + d));
    dk_sums[d] = vec4(0.0);
    dv_sums[d] = vec4(0.0);
  }
  // One past the last query that sees the key: the key's own does.
  const int own = segment[p.segment_at + j];
  uint end = p.window != 0u ? min(p.tokens, j + p.window) : p.tokens;
  while (segment[p.segment_at + end - 1u] != own) --end;

  for (uint head = kv_head * group; head < (kv_head + 1u) * group; ++head) {
    for (uint i = j; i < end; ++i) {
      const uint row = i * p.heads + head;
      vec4 q[kQuads];
      vec4 d_o[kQuads];
      vec4 products = vec4(0.0);
      vec4 changes = vec4(0.0);
      [[unroll]] for (uint d = 0u; d < kQuads; ++d) {
        q[d] = texelFetch(q_texels, int(p.q_at + row * kQuads + d));
        d_o[d] = texelFetch(do_texels, int(p.do_at + row * kQuads + d));
        products += q[d] * k[d];
        changes += d_o[d] * v[d];
      }
      const vec2 score = Score(Total(products), p.scale, p.softcap);
      const bool visible = segment[p.segment_at + i] == own;
      const float weight = visible ? exp(score.x - lse[p.lse_at + row]) : 0.0;
      const float ds = weight * (Total(changes) - delta[p.delta_at + row]) * score.y;
      [[unroll]] for (uint d = 0u; d < kQuads; ++d) {
        dk_sums[d] += ds * q[d];
        dv_sums[d] += weight * d_o[d];
      }
    }
  }
  if (gl_WorkGroupID.y * kLanes + gl_LocalInvocationIndex >= p.tokens) return;
  [[unroll]] for (uint d = 0u; d < kQuads; ++d) {
    dk[p.dk_at / 4u + key_row + d] = dk_sums[d];
    dv[p.dv_at / 4u + key_row + d] = dv_sums[d];
  }
}
