// Q4_K (quant_block.glsl, which includes the scales): q is 0 to 15, the minimum stays apart.
uvec4 LoadIntegers(uint row_byte, uint col) {
  const uint i = col % 256u;
  const uint at = row_byte + col / 256u * 144u + 16u + i / 64u * 32u + i % 32u;
  const uvec4 bytes = uvec4(LoadU32(at), LoadU32(at + 4u), LoadU32(at + 8u), LoadU32(at + 12u));
  return bytes >> (i / 32u % 2u * 4u) & 0x0f0f0f0fu;
}
vec2 LoadScale(uint row_byte, uint col) {
  const uint block = row_byte + col / 256u * 144u;
  return unpackHalf2x16(LoadU32(block)) * SixBitScales(block + 4u, col % 256u / 32u);
}
