// dq[i] = sum_j ds[i][j] k[j], as attention_dq.comp (attention_gradient.glsl has the formulas); one
// invocation a query and head. Groups (H, ceil(T/8)).
#version 450
#extension GL_GOOGLE_include_directive : require
#include "lane_attention.glsl"
layout(push_constant) uniform Params {
  uint do_at, q_at, k_at, v_at, lse_at, delta_at, segment_at, dq_at;
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
layout(binding = 7, std430) writeonly buffer Dq { vec4 dq[]; };

void main() {
  const uint head = gl_WorkGroupID.x;
  const uint kv_head = head / (p.heads / p.kv_heads);
  const uint i = min(gl_WorkGroupID.y * kLanes + gl_LocalInvocationIndex, p.tokens - 1u);
  const uint row = i * p.heads + head;
  vec4 q[kQuads];
  vec4 d_o[kQuads];
  vec4 sums[kQuads];
  [[unroll]] for (uint d = 0u; d < kQuads; ++d) {
    q[d] = texelFetch(q_texels, int(p.q_at + row * kQuads + d));
    d_o[d] = texelFetch(do_texels, int(p.do_at + row * kQuads + d));
    sums[d] = vec4(0.0);
  }
  const float row_lse = lse[p.lse_at + row];
  const float row_delta = delta[p.delta_at + row];
  const int own = segment[p.segment_at + i];
  uint from = p.window != 0u && i + 1u > p.window ? i + 1u - p.window : 0u;
  while (segment[p.segment_at + from] != own) ++from;

  for (uint j = from; j <= i; ++j) {
    const uint at = (j * p.kv_heads + kv_head) * kQuads;
    vec4 k[kQuads];
    vec4 products = vec4(0.0);
    vec4 changes = vec4(0.0);
    [[unroll]] for (uint d = 0u; d < kQuads; ++d) {
      k[d] = texelFetch(k_texels, int(p.k_at + at + d));
      products += q[d] * k[d];
      changes += d_o[d] * texelFetch(v_texels, int(p.v_at + at + d));
    }
    const vec2 score = Score(Total(products), p.scale, p.softcap);
    const bool visible = segment[p.segment_at + j] == own;
    const float weight = visible ? exp(score.x - row_lse) : 0.0;
    const float ds = weight * (Total(changes) - row_delta) * score.y;
    [[unroll]] for (uint d = 0u; d < kQuads; ++d) sums[d] += ds * k[d];
  }
  if (gl_WorkGroupID.y * kLanes + gl_LocalInvocationIndex >= p.tokens) return;
  [[unroll]] for (uint d = 0u; d < kQuads; ++d) dq[p.dq_at / 4u + row * kQuads + d] = sums[d];
}
