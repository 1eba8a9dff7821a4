// y[i] = a[i] + b[i]. One invocation an element.
#version 450
#extension GL_GOOGLE_include_directive : require
layout(local_size_x = 256) in;
layout(push_constant) uniform Params { uint a_at, b_at, y_at, count; } p;
layout(binding = 0, std430) readonly buffer A { float a[]; };
layout(binding = 1, std430) readonly buffer B { float b[]; };
layout(binding = 2, std430) writeonly buffer Y { float y[]; };
#include "flat_index.glsl"

void main() {
  const uint i = FlatIndex();
  if (i >= p.count) return;
  y[p.y_at + i] = a[p.a_at + i] + b[p.b_at + i];
}
