// delta[t][h] = sum_d do[t][h][d] o[t][h][d]. One invocation a token and head.
#version 450
#extension GL_GOOGLE_include_directive : require
layout(local_size_x = 256) in;
layout(push_constant) uniform Params { uint do_at, o_at, delta_at, count, head_size; } p;
layout(binding = 0, std430) readonly buffer Do { float d_o[]; };
layout(binding = 1, std430) readonly buffer O { float o[]; };
layout(binding = 2, std430) writeonly buffer Delta { float delta[]; };
#include "flat_index.glsl"

void main() {
  const uint i = FlatIndex();
  if (i >= p.count) return;
  float sum = 0.0;
  for (uint d = i * p.head_size; d < (i + 1u) * p.head_size; ++d) {
    sum += d_o[p.do_at + d] * o[p.o_at + d];
  }
  delta[p.delta_at + i] = sum;
}
