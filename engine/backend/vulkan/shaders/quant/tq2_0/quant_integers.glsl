// TQ2_0 (quant_block.glsl): digit - 1 as a signed byte is (digit + 0x7f) ^ 0x80, which carries nowhere.
uvec4 LoadIntegers(uint row_byte, uint col) {
  const uint i = col % 256u;
  const uint at = row_byte + col / 256u * 66u + i / 128u * 32u + i % 32u;
  const uvec4 bytes = uvec4(LoadU32(at), LoadU32(at + 4u), LoadU32(at + 8u), LoadU32(at + 12u));
  const uvec4 q = bytes >> (i / 32u % 4u * 2u) & 0x03030303u;
  return (q + 0x7f7f7f7fu) ^ 0x80808080u;
}
vec2 LoadScale(uint row_byte, uint col) {
  return vec2(LoadF16(row_byte + col / 256u * 66u + 64u), 0.0);
}
