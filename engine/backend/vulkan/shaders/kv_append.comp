// cache[start + t] = x[t]; rows past the end of the cache are dropped. Groups (C/64, T).
#version 450
layout(local_size_x = 64) in;
layout(push_constant) uniform Params { uint x_at, start_at, cache_at, cols, cache_rows; } p;
layout(binding = 0, std430) readonly buffer X { float x[]; };
layout(binding = 1, std430) readonly buffer Start { int start[]; };
layout(binding = 2, std430) writeonly buffer Cache { float cache[]; };

void main() {
  const uint col = gl_GlobalInvocationID.x;
  const uint t = gl_WorkGroupID.y;
  const uint row = uint(start[p.start_at]) + t;
  if (col >= p.cols || row >= p.cache_rows) return;
  cache[p.cache_at + row * p.cols + col] = x[p.x_at + t * p.cols + col];
}
