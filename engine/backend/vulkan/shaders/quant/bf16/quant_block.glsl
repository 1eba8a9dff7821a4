// BF16: the upper half of an f32, two in a word.
vec4 LoadQuad(uint row_byte, uint col) {
  const uint byte = row_byte + 2u * col;
  const uvec2 pair = uvec2(LoadU32(byte), LoadU32(byte + 4u));
  return uintBitsToFloat(uvec4(pair.x << 16, pair.x & 0xffff0000u, pair.y << 16,
                               pair.y & 0xffff0000u));
}
