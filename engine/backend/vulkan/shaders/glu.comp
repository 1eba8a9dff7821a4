// y[i] = act(gate[i]) * up[i]. One invocation an element.
#version 450
#extension GL_GOOGLE_include_directive : require
layout(local_size_x = 256) in;
layout(push_constant) uniform Params { uint gate_at, up_at, y_at, count, act; } p;
layout(binding = 0, std430) readonly buffer Gate { float gate[]; };
layout(binding = 1, std430) readonly buffer Up { float up[]; };
layout(binding = 2, std430) writeonly buffer Y { float y[]; };
#include "activation.glsl"
#include "flat_index.glsl"

void main() {
  const uint i = FlatIndex();
  if (i >= p.count) return;
  y[p.y_at + i] = Activate(p.act, gate[p.gate_at + i]) * up[p.up_at + i];
}
