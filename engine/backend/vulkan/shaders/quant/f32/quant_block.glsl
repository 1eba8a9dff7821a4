// F32: w[i] as it stands.
vec4 LoadQuad(uint row_byte, uint col) {
  const uint i = (row_byte >> 2) + col;
  return uintBitsToFloat(uvec4(words[i], words[i + 1u], words[i + 2u], words[i + 3u]));
}
