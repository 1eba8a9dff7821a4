// d[ids[t]] += scale * v[t], tokens of one id summed by the invocation of the first of them, so that
// no two write the same place. Ids outside d are left out. Groups (R/64, T).
#version 450
layout(local_size_x = 64) in;
layout(push_constant) uniform Params {
  uint v_at, ids_at, d_at;
  uint tokens, rank, rows;
  float scale;
} p;
layout(binding = 0, std430) readonly buffer V { float v[]; };
layout(binding = 1, std430) readonly buffer Ids { int ids[]; };
layout(binding = 2, std430) buffer D { float d[]; };

void main() {
  const uint r = gl_GlobalInvocationID.x;
  const uint t = gl_WorkGroupID.y;
  if (r >= p.rank) return;
  const uint id = uint(ids[p.ids_at + t]);  // a negative one becomes too large
  if (id >= p.rows) return;
  for (uint i = 0u; i < t; ++i) {
    if (uint(ids[p.ids_at + i]) == id) return;
  }
  float sum = 0.0;
  for (uint i = t; i < p.tokens; ++i) {
    if (uint(ids[p.ids_at + i]) == id) sum += v[p.v_at + i * p.rank + r];
  }
  d[p.d_at + id * p.rank + r] += p.scale * sum;
}
