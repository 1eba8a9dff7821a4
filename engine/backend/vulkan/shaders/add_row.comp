// y[t][c] = x[t][c] + row[c], row a vector of the model file in f32. One invocation an element.
#version 450
#extension GL_GOOGLE_include_directive : require
layout(local_size_x = 256) in;
layout(push_constant) uniform Params { uint x_at, row_byte, y_at, count, cols; } p;
layout(binding = 0, std430) readonly buffer X { float x[]; };
layout(binding = 1, std430) readonly buffer Row { float row[]; };
layout(binding = 2, std430) writeonly buffer Y { float y[]; };
#include "flat_index.glsl"

void main() {
  const uint i = FlatIndex();
  if (i >= p.count) return;
  y[p.y_at + i] = x[p.x_at + i] + row[p.row_byte / 4u + i % p.cols];
}
