// dgate[i] = dy[i] * up[i] * act'(gate[i]); dup[i] = dy[i] * act(gate[i]). One invocation an element.
#version 450
#extension GL_GOOGLE_include_directive : require
layout(local_size_x = 256) in;
layout(push_constant) uniform Params {
  uint dy_at, gate_at, up_at, dgate_at, dup_at, count, act;
} p;
layout(binding = 0, std430) readonly buffer Dy { float dy[]; };
layout(binding = 1, std430) readonly buffer Gate { float gate[]; };
layout(binding = 2, std430) readonly buffer Up { float up[]; };
layout(binding = 3, std430) writeonly buffer Dgate { float dgate[]; };
layout(binding = 4, std430) writeonly buffer Dup { float dup[]; };
#include "activation.glsl"
#include "flat_index.glsl"

void main() {
  const uint i = FlatIndex();
  if (i >= p.count) return;
  const float g = gate[p.gate_at + i];
  const float d = dy[p.dy_at + i];
  dgate[p.dgate_at + i] = d * up[p.up_at + i] * ActivationSlope(p.act, g);
  dup[p.dup_at + i] = d * Activate(p.act, g);
}
