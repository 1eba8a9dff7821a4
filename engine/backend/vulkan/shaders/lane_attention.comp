// Causal attention within segments with an online softmax, as attention.comp; one invocation a query
// and head. Groups (H, ceil(T/8)).
#version 450
#extension GL_GOOGLE_include_directive : require
#include "lane_attention.glsl"
layout(push_constant) uniform Params {
  uint q_at, k_at, v_at, segment_at, o_at, lse_at;
  uint tokens, heads, kv_heads, window;
  float scale, softcap;
} p;
layout(binding = 0) uniform textureBuffer q_texels;
layout(binding = 1) uniform textureBuffer k_texels;
layout(binding = 2) uniform textureBuffer v_texels;
layout(binding = 3, std430) readonly buffer Segment { int segment[]; };
layout(binding = 4, std430) writeonly buffer O { vec4 o[]; };
layout(binding = 5, std430) writeonly buffer Lse { float lse[]; };

void main() {
  const uint head = gl_WorkGroupID.x;
  const uint kv_head = head / (p.heads / p.kv_heads);
  const uint i = min(gl_WorkGroupID.y * kLanes + gl_LocalInvocationIndex, p.tokens - 1u);
  const uint row = i * p.heads + head;
  vec4 q[kQuads];
  vec4 sums[kQuads];
  [[unroll]] for (uint d = 0u; d < kQuads; ++d) {
    q[d] = texelFetch(q_texels, int(p.q_at + row * kQuads + d));
    sums[d] = vec4(0.0);
  }
  const int own = segment[p.segment_at + i];
  // Documents packed before the query's own cost nothing.
  uint from = p.window != 0u && i + 1u > p.window ? i + 1u - p.window : 0u;
  while (segment[p.segment_at + from] != own) ++from;

  const float kNone = -3.4e38;
  float peak = kNone;
  float total = 0.0;
  for (uint j = from; j <= i; ++j) {
    const uint at = (j * p.kv_heads + kv_head) * kQuads;
    vec4 products = vec4(0.0);
    [[unroll]] for (uint d = 0u; d < kQuads; ++d) {
      products += q[d] * texelFetch(k_texels, int(p.k_at + at + d));
    }
    const bool visible = segment[p.segment_at + j] == own;
    const float score = visible ? Score(Total(products), p.scale, p.softcap).x : kNone;
    const float new_peak = max(peak, score);
    const float shrink = exp(peak - new_peak);
    const float weight = visible ? exp(score - new_peak) : 0.0;
    peak = new_peak;
    total = total * shrink + weight;
    [[unroll]] for (uint d = 0u; d < kQuads; ++d) {
      sums[d] = sums[d] * shrink + weight * texelFetch(v_texels, int(p.v_at + at + d));
    }
  }
  if (gl_WorkGroupID.y * kLanes + gl_LocalInvocationIndex >= p.tokens) return;
  [[unroll]] for (uint d = 0u; d < kQuads; ++d) o[p.o_at / 4u + row * kQuads + d] = sums[d] / total;
  lse[p.lse_at + row] = peak + log(total);
}
