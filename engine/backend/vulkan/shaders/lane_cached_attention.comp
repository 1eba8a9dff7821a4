// Attention over a cache, as attention.comp with kCached: query t stands at start + t. One invocation
// a query and head, neighbours first over the queries of a head, so that lanes of a prompt mostly read
// the same keys, and those of a single token a head each. k and v are texels of four elements, f32 or
// f16. Groups (1, ceil(T*H/8)).
#version 450
#extension GL_GOOGLE_include_directive : require
#include "lane_attention.glsl"
layout(push_constant) uniform Params {
  uint q_at, k_at, v_at, start_at, o_at;
  uint tokens, heads, kv_heads, window;
  float scale, softcap;
} p;
layout(binding = 0) uniform textureBuffer q_texels;
layout(binding = 1) uniform textureBuffer k_texels;
layout(binding = 2) uniform textureBuffer v_texels;
layout(binding = 3, std430) readonly buffer Start { int start[]; };
layout(binding = 4, std430) writeonly buffer O { vec4 o[]; };

void main() {
  const uint index = gl_WorkGroupID.y * kLanes + gl_LocalInvocationIndex;
  const uint number = min(index, p.tokens * p.heads - 1u);
  const uint head = number / p.tokens;
  const uint token = number % p.tokens;
  const uint kv_head = head / (p.heads / p.kv_heads);
  const uint row = token * p.heads + head;
  const uint position = uint(start[p.start_at]) + token;
  vec4 q[kQuads];
  vec4 sums[kQuads];
  [[unroll]] for (uint d = 0u; d < kQuads; ++d) {
    q[d] = texelFetch(q_texels, int(p.q_at + row * kQuads + d));
    sums[d] = vec4(0.0);
  }
  const uint from = p.window != 0u && position + 1u > p.window ? position + 1u - p.window : 0u;
  float peak = -3.4e38;
  float total = 0.0;
  for (uint j = from; j <= position; ++j) {
    const uint at = (j * p.kv_heads + kv_head) * kQuads;
    vec4 products = vec4(0.0);
    [[unroll]] for (uint d = 0u; d < kQuads; ++d) {
      products += q[d] * texelFetch(k_texels, int(p.k_at + at + d));
    }
    const float score = Score(Total(products), p.scale, p.softcap).x;
    const float new_peak = max(peak, score);
    const float shrink = exp(peak - new_peak);
    const float weight = exp(score - new_peak);
    peak = new_peak;
    total = total * shrink + weight;
    [[unroll]] for (uint d = 0u; d < kQuads; ++d) {
      sums[d] = sums[d] * shrink + weight * texelFetch(v_texels, int(p.v_at + at + d));
    }
  }
  if (index >= p.tokens * p.heads) return;
  [[unroll]] for (uint d = 0u; d < kQuads; ++d) o[p.o_at / 4u + row * kQuads + d] = sums[d] / total;
}
