// Both backward passes of attention recompute, for a tile of 16 queries x 16 keys,
//   p  = exp(s - lse)                      s: scaled, capped score
//   ds = p * (do . v - delta) * scale      times 1 - (s/softcap)^2 where scores are capped
// and then sum over their own side, so that no result needs an atomic (FlashAttention-2, Dao 2023).
layout(local_size_x = 16, local_size_y = 16) in;
layout(constant_id = 0) const uint kColumns = 8u;  // ceil(D / 16): columns an invocation sums
const uint kTile = 16u;
const uint kChunk = 32u;
layout(push_constant) uniform Params {
  uint do_at, q_at, k_at, v_at, lse_at, delta_at, segment_at, out0_at, out1_at;
  uint tokens, heads, kv_heads, head_size, window;
  float scale, softcap;
} p;
layout(binding = 0, std430) readonly buffer Do { float d_o[]; };
layout(binding = 1, std430) readonly buffer Q { float q[]; };
layout(binding = 2, std430) readonly buffer K { float k[]; };
layout(binding = 3, std430) readonly buffer V { float v[]; };
layout(binding = 4, std430) readonly buffer Lse { float lse[]; };
layout(binding = 5, std430) readonly buffer Delta { float delta[]; };
layout(binding = 6, std430) readonly buffer Segment { int segment[]; };

shared float q_tile[kTile * (kChunk + 1u)];
shared float k_tile[kTile * (kChunk + 1u)];
shared float do_tile[kTile * (kChunk + 1u)];
shared float v_tile[kTile * (kChunk + 1u)];

bool Visible(uint i, uint j) {
  if (i >= p.tokens || j > i) return false;
  if (p.window != 0u && i - j >= p.window) return false;
  return segment[p.segment_at + i] == segment[p.segment_at + j];
}

uint QueryRow(uint i, uint head) { return (i * p.heads + head) * p.head_size; }
uint KeyRow(uint j, uint kv_head) { return (j * p.kv_heads + kv_head) * p.head_size; }

// x: p, y: ds of query i0 + qi and key j0 + kj, zeros where it is not visible. All invocations call.
vec2 Gradient(uint head, uint kv_head, uint i0, uint j0, uint qi, uint kj) {
  float score = 0.0;
  float dp = 0.0;
  for (uint d0 = 0u; d0 < p.head_size; d0 += kChunk) {
    barrier();
    for (uint n = gl_LocalInvocationIndex; n < kTile * kChunk; n += kTile * kTile) {
      const uint row = n / kChunk;
      const uint d = d0 + n % kChunk;
      const uint at = row * (kChunk + 1u) + n % kChunk;
      const bool has_q = i0 + row < p.tokens && d < p.head_size;
      const bool has_k = j0 + row < p.tokens && d < p.head_size;
      q_tile[at] = has_q ? q[p.q_at + QueryRow(i0 + row, head) + d] : 0.0;
      do_tile[at] = has_q ? d_o[p.do_at + QueryRow(i0 + row, head) + d] : 0.0;
      k_tile[at] = has_k ? k[p.k_at + KeyRow(j0 + row, kv_head) + d] : 0.0;
      v_tile[at] = has_k ? v[p.v_at + KeyRow(j0 + row, kv_head) + d] : 0.0;
    }
    barrier();
    for (uint d = 0u; d < kChunk; ++d) {
      score += q_tile[qi * (kChunk + 1u) + d] * k_tile[kj * (kChunk + 1u) + d];
      dp += do_tile[qi * (kChunk + 1u) + d] * v_tile[kj * (kChunk + 1u) + d];
    }
  }
  const uint i = i0 + qi;
  if (!Visible(i, j0 + kj)) return vec2(0.0);
  score *= p.scale;
  float slope = p.scale;
  if (p.softcap > 0.0) {
    const float t = tanh(clamp(score / p.softcap, -15.0, 15.0));
    score = p.softcap * t;
    slope *= 1.0 - t * t;
  }
  const uint row = i * p.heads + head;
  const float weight = exp(score - lse[p.lse_at + row]);
  return vec2(weight, weight * (dp - delta[p.delta_at + row]) * slope);
}
