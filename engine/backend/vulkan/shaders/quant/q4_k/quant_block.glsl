// Q4_K: 256 weights in groups of 32; w[i] = (d * s) * q[i] - (dmin * m). 144 bytes a block: d, dmin,
// 12 bytes of 6-bit s and m, then 32 bytes for each two groups: low nibbles are the even one's.
#include "six_bit_scales.glsl"
vec4 LoadQuad(uint row_byte, uint col) {
  const uint block = row_byte + (col / 256u) * 144u;
  const uint i = col % 256u;
  const uint g = i / 32u;
  const vec2 sm = SixBitScales(block + 4u, g);
  const uint q = (LoadU32(block + 16u + g / 2u * 32u + i % 32u) >> (g % 2u * 4u)) & 0x0f0f0f0fu;
  return LoadF16(block) * sm.x * BytesOf(q) - LoadF16(block + 2u) * sm.y;
}
