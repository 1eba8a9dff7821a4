// y[t] = x[t] through row t of a dropout mask, or y[t] += it. One invocation a quad of columns.
#version 450
#extension GL_GOOGLE_include_directive : require
layout(local_size_x = 256) in;
layout(push_constant) uniform Params {
  uint x_at, key_at, y_at;
  uint rows, cols, site, threshold;
  float scale;
  uint adds;
} p;
layout(binding = 0, std430) readonly buffer X { float x[]; };
layout(binding = 1, std430) readonly buffer Key { uint key[]; };
layout(binding = 2, std430) buffer Y { float y[]; };
#include "flat_index.glsl"
#include "dropout_mask.glsl"

void main() {
  const uint quads = (p.cols + 3u) / 4u;
  const uint i = FlatIndex();
  if (i >= p.rows * quads) return;
  const uint row = i / quads;
  const uint quad = i % quads;
  const uvec4 words = DropoutWords(row, quad, p.site, key[p.key_at + 2u],
                                   uvec2(key[p.key_at], key[p.key_at + 1u]));
  for (uint k = 0u; k < 4u && 4u * quad + k < p.cols; ++k) {
    const uint at = row * p.cols + 4u * quad + k;
    const float dropped = words[k] >= p.threshold ? p.scale * x[p.x_at + at] : 0.0;
    y[p.y_at + at] = p.adds != 0u ? y[p.y_at + at] + dropped : dropped;
  }
}
