// Q4_0 (quant_block.glsl): q - 8 as a signed byte is (q + 0x78) ^ 0x80, which carries nowhere.
uvec4 LoadIntegers(uint row_byte, uint col) {
  const uint at = row_byte + col / 32u * 18u + 2u;
  const uvec4 bytes = uvec4(LoadU32(at), LoadU32(at + 4u), LoadU32(at + 8u), LoadU32(at + 12u));
  const uvec4 q = bytes >> (col / 16u % 2u * 4u) & 0x0f0f0f0fu;
  return (q + 0x78787878u) ^ 0x80808080u;
}
vec2 LoadScale(uint row_byte, uint col) { return vec2(LoadF16(row_byte + col / 32u * 18u), 0.0); }
