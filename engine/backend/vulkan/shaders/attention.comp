// Causal attention with an online softmax (Milakov and Gimelshein 2018; Dao et al. 2022): o, and lse
// = log sum exp of the scaled scores. kCached: k and v are a cache, query t stands at start + t;
// else query t at t, and it sees its own segment only.
// One workgroup a head and kQueries queries: x of the workgroup runs over keys, y over queries.
// Groups (H, ceil(T/kQueries)). Shared memory: about (kQueries + kKeys) * 33 * 4 bytes.
#version 450
#extension GL_GOOGLE_include_directive : require
layout(local_size_x_id = 0, local_size_y_id = 1) in;
layout(constant_id = 0) const uint kKeys = 16u;
layout(constant_id = 1) const uint kQueries = 16u;
layout(constant_id = 2) const uint kColumns = 8u;  // ceil(D / kKeys): columns of o an invocation has
layout(constant_id = 3) const uint kCached = 0u;
layout(constant_id = 4) const uint kKvFormat = 0u;
layout(push_constant) uniform Params {
  uint q_at, k_at, v_at, place_at, o_at, lse_at;
  uint tokens, keys, heads, kv_heads, head_size, window;
  float scale, softcap;
} p;
layout(binding = 0, std430) readonly buffer Q { float q[]; };
layout(binding = 1, std430) readonly buffer K { uint k[]; };
layout(binding = 2, std430) readonly buffer V { uint v[]; };
layout(binding = 3, std430) readonly buffer Place { int place[]; };  // segments, or the start
layout(binding = 4, std430) writeonly buffer O { float o[]; };
layout(binding = 5, std430) writeonly buffer Lse { float lse[]; };

#include "kv_elements.glsl"
KV_LOADER(Key, k)
KV_LOADER(Value, v)

const uint kChunk = 32u;
shared float q_tile[kQueries * (kChunk + 1u)];
shared float k_tile[kKeys * (kChunk + 1u)];
shared float weights[kQueries * kKeys];
shared uint first_key;

bool Visible(uint i, uint j, uint position) {
  if (i >= p.tokens || j > position || j >= p.keys) return false;
  if (p.window != 0u && position - j >= p.window) return false;
  return kCached != 0u || place[p.place_at + i] == place[p.place_at + j];
}

// Smallest key that any query of the tile sees: documents packed before it cost nothing.
uint FirstKey(uint i, uint position, uint from, uint end) {
  const uint x = gl_LocalInvocationID.x;
  if (gl_LocalInvocationIndex == 0u) first_key = end;
  barrier();
  for (uint j = from + x; j < end; j += kKeys) {
    if (Visible(i, j, position)) {
      atomicMin(first_key, j);
      break;
    }
  }
  barrier();
  return first_key;
}

float Score(uint q_row, uint kv_col, uint i0, uint j0, uint end) {
  const uint x = gl_LocalInvocationID.x;
  const uint y = gl_LocalInvocationID.y;
  const uint threads = kKeys * kQueries;
  const uint kv_cols = p.kv_heads * p.head_size;
  float sum = 0.0;
  for (uint d0 = 0u; d0 < p.head_size; d0 += kChunk) {
    barrier();
    for (uint n = gl_LocalInvocationIndex; n < kQueries * kChunk; n += threads) {
      const uint row = n / kChunk;
      const uint d = d0 + n % kChunk;
      const bool inside = i0 + row < p.tokens && d < p.head_size;
      q_tile[row * (kChunk + 1u) + n % kChunk] =
          inside ? q[q_row + row * p.heads * p.head_size + d] : 0.0;
    }
    for (uint n = gl_LocalInvocationIndex; n < kKeys * kChunk; n += threads) {
      const uint row = n / kChunk;
      const uint d = d0 + n % kChunk;
      const bool inside = j0 + row < end && d < p.head_size;
      k_tile[row * (kChunk + 1u) + n % kChunk] =
          inside ? Key(p.k_at, j0 + row, kv_col + d, kv_cols) : 0.0;
    }
    barrier();
    for (uint d = 0u; d < kChunk; ++d) {
      sum += q_tile[y * (kChunk + 1u) + d] * k_tile[x * (kChunk + 1u) + d];
    }
  }
  sum *= p.scale;
  return p.softcap > 0.0 ? p.softcap * tanh(clamp(sum / p.softcap, -15.0, 15.0)) : sum;
}

void main() {
  const uint x = gl_LocalInvocationID.x;
  const uint y = gl_LocalInvocationID.y;
  const uint head = gl_WorkGroupID.x;
  const uint kv_head = head / (p.heads / p.kv_heads);
  const uint i0 = gl_WorkGroupID.y * kQueries;
  const uint i = i0 + y;
  const uint start = kCached != 0u ? uint(place[p.place_at]) : 0u;
  const uint position = start + i;
  const uint end = min(start + min(i0 + kQueries, p.tokens), p.keys);
  const uint low = start + i0 + 1u;
  uint from = p.window != 0u && low > p.window ? low - p.window : 0u;
  if (kCached == 0u) from = FirstKey(i, position, from, end);

  const uint q_row = p.q_at + (i0 * p.heads + head) * p.head_size;
  const uint kv_col = kv_head * p.head_size;
  const uint kv_cols = p.kv_heads * p.head_size;
  const float kNone = -3.4e38;
  float peak = kNone;
  float total = 0.0;
  float sums[kColumns];
  for (uint c = 0u; c < kColumns; ++c) sums[c] = 0.0;

  for (uint j0 = from; j0 < end; j0 += kKeys) {
    const float score = Score(q_row, kv_col, i0, j0, end);
    const bool visible = Visible(i, j0 + x, position);
    weights[y * kKeys + x] = visible ? score : kNone;
    barrier();
    float new_peak = peak;
    for (uint n = 0u; n < kKeys; ++n) new_peak = max(new_peak, weights[y * kKeys + n]);
    barrier();
    weights[y * kKeys + x] = visible ? exp(score - new_peak) : 0.0;
    barrier();
    const float shrink = exp(peak - new_peak);  // 1 while nothing was seen
    peak = new_peak;
    total *= shrink;
    for (uint c = 0u; c < kColumns; ++c) sums[c] *= shrink;
    const uint count = min(kKeys, end - j0);
    for (uint n = 0u; n < count; ++n) {
      const float weight = weights[y * kKeys + n];
      total += weight;
      for (uint c = 0u; c < kColumns; ++c) {
        const uint d = x + kKeys * c;
        if (d < p.head_size) sums[c] += weight * Value(p.v_at, j0 + n, kv_col + d, kv_cols);
      }
    }
  }
  if (i >= p.tokens) return;
  const float scale = total > 0.0 ? 1.0 / total : 0.0;
  for (uint c = 0u; c < kColumns; ++c) {
    const uint d = x + kKeys * c;
    if (d < p.head_size) o[p.o_at + (i * p.heads + head) * p.head_size + d] = sums[c] * scale;
  }
  if (kCached == 0u && x == 0u) lse[p.lse_at + i * p.heads + head] = peak + log(total);
}
