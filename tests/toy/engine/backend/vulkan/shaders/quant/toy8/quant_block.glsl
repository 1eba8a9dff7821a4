// TOY8: 32 weights share one f32 scale; w[i] = d * q[i]. 36 bytes a block: d, then 32 int8.
vec4 LoadQuad(uint row_byte, uint col) {
  const uint block = row_byte + (col / 32u) * 36u;
  const float d = uintBitsToFloat(LoadU32(block));
  const int q = int(LoadU32(block + 4u + col % 32u));
  return d * vec4(bitfieldExtract(q, 0, 8), bitfieldExtract(q, 8, 8), bitfieldExtract(q, 16, 8),
                  bitfieldExtract(q, 24, 8));
}
