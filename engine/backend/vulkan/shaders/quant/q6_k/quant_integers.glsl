// Q6_K (quant_block.glsl): q - 32 as a signed byte is (q + 0x60) ^ 0x80, which carries nowhere.
uvec4 LoadWords(uint at) {
  return uvec4(LoadU32(at), LoadU32(at + 4u), LoadU32(at + 8u), LoadU32(at + 12u));
}
uvec4 LoadIntegers(uint row_byte, uint col) {
  const uint block = row_byte + col / 256u * 210u;
  const uint i = col % 256u;
  const uint run = i / 32u % 4u;
  const uint l = i % 32u;
  const uvec4 low = LoadWords(block + i / 128u * 64u + run % 2u * 32u + l) >> (run / 2u * 4u) & 0x0f0f0f0fu;
  const uvec4 high = LoadWords(block + 128u + i / 128u * 32u + l) >> (run * 2u) & 0x03030303u;
  return ((low | high << 4) + 0x60606060u) ^ 0x80808080u;
}
vec2 LoadScale(uint row_byte, uint col) {
  const uint block = row_byte + col / 256u * 210u;
  const int s = bitfieldExtract(int(LoadU8(block + 192u + col % 256u / 16u)), 0, 8);
  return vec2(LoadF16(block + 208u) * float(s), 0.0);
}
