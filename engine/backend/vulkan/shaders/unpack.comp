// What pack.comp packed, as f32. One invocation an element.
#version 450
#extension GL_GOOGLE_include_directive : require
layout(local_size_x = 256) in;
layout(constant_id = 0) const uint kFormat = 0u;
layout(push_constant) uniform Params { uint packed_at, x_at, count; } p;
layout(binding = 0, std430) readonly buffer Packed { uint packed[]; };
layout(binding = 1, std430) writeonly buffer X { float x[]; };
#include "flat_index.glsl"

void main() {
  const uint i = FlatIndex();
  if (i >= p.count) return;
  if (kFormat == 0u) {
    const uint word = packed[p.packed_at + (i >> 1)];
    x[p.x_at + i] = uintBitsToFloat((i & 1u) == 0u ? word << 16 : word & 0xffff0000u);
    return;
  }
  const uint byte = (i >> 5) * 34u;
  const vec2 scales = unpackHalf2x16(packed[p.packed_at + (byte >> 2)]);
  const uint q_byte = byte + 2u + (i & 31u);
  const int q = bitfieldExtract(int(packed[p.packed_at + (q_byte >> 2)]), int(q_byte & 3u) * 8, 8);
  x[p.x_at + i] = ((byte & 2u) == 0u ? scales.x : scales.y) * float(q);
}
