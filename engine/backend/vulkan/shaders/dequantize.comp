// values[r][c] = W[r][c] in f32, for lane_product.comp. One invocation four columns of a row; C is a
// multiple of 4.
#version 450
#extension GL_GOOGLE_include_directive : require
layout(local_size_x = 256) in;
layout(push_constant) uniform Params { uint w_at, out_at, rows, quads, row_bytes; } p;
#define WEIGHT_BINDING 0
#define WEIGHT_TEXELS
#include "weights.glsl"
layout(binding = 1, std430) writeonly buffer Values { vec4 values[]; };
#include "flat_index.glsl"

void main() {
  const uint i = FlatIndex();
  if (i >= p.rows * p.quads) return;
  values[p.out_at / 4u + i] = LoadQuad(p.w_at + i / p.quads * p.row_bytes, 4u * (i % p.quads));
}
