// F16: IEEE binary16, two in a word.
vec4 LoadQuad(uint row_byte, uint col) {
  const uint byte = row_byte + 2u * col;
  return vec4(unpackHalf2x16(LoadU32(byte)), unpackHalf2x16(LoadU32(byte + 4u)));
}
