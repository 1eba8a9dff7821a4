// Q5_K: 256 weights in groups of 32; w[i] = (d * s) * q[i] - (dmin * m). 176 bytes a block: d, dmin,
// 12 bytes of 6-bit s and m, 32 bytes of fifth bits (bit g is group g's), then 32 bytes for each two
// groups: low nibbles are the even one's.
#include "six_bit_scales.glsl"
vec4 LoadQuad(uint row_byte, uint col) {
  const uint block = row_byte + (col / 256u) * 176u;
  const uint i = col % 256u;
  const uint g = i / 32u;
  const vec2 sm = SixBitScales(block + 4u, g);
  const uint low = (LoadU32(block + 48u + g / 2u * 32u + i % 32u) >> (g % 2u * 4u)) & 0x0f0f0f0fu;
  const uint high = (LoadU32(block + 16u + i % 32u) >> g) & 0x01010101u;
  return LoadF16(block) * sm.x * BytesOf(low | high << 4) - LoadF16(block + 2u) * sm.y;
}
