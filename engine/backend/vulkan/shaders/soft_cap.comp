// y[i] = cap * tanh(x[i] / cap). One invocation an element.
#version 450
#extension GL_GOOGLE_include_directive : require
layout(local_size_x = 256) in;
layout(push_constant) uniform Params {
  uint x_at, y_at, count;
  float cap;
} p;
layout(binding = 0, std430) readonly buffer X { float x[]; };
layout(binding = 1, std430) writeonly buffer Y { float y[]; };
#include "activation.glsl"
#include "flat_index.glsl"

void main() {
  const uint i = FlatIndex();
  if (i >= p.count) return;
  y[p.y_at + i] = p.cap * SafeTanh(x[p.x_at + i] / p.cap);
}
