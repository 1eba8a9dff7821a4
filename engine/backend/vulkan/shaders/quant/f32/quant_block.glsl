// F32: w[i] as it stands.
vec4 LoadQuad(uint row_byte, uint col) {
  const uint i = (row_byte >> 2) + col;
  return uintBitsToFloat(uvec4(Word(i), Word(i + 1u), Word(i + 2u), Word(i + 3u)));
}
