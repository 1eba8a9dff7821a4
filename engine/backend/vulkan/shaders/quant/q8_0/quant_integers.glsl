// Q8_0 (quant_block.glsl): the bytes are the integers.
uvec4 LoadIntegers(uint row_byte, uint col) {
  const uint at = row_byte + col / 32u * 34u + 2u + col % 32u;
  return uvec4(LoadU32(at), LoadU32(at + 4u), LoadU32(at + 8u), LoadU32(at + 12u));
}
vec2 LoadScale(uint row_byte, uint col) { return vec2(LoadF16(row_byte + col / 32u * 34u), 0.0); }
