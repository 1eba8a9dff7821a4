// Q8_0: 32 weights share one f16 scale; w[i] = d * q[i]. 34 bytes a block: d, then 32 int8.
vec4 LoadQuad(uint row_byte, uint col) {
  const uint block = row_byte + (col / 32u) * 34u;
  const float d = unpackHalf2x16(LoadU16(block)).x;
  const int q = int(LoadU32(block + 2u + col % 32u));
  return d * vec4(bitfieldExtract(q, 0, 8), bitfieldExtract(q, 8, 8), bitfieldExtract(q, 16, 8),
                  bitfieldExtract(q, 24, 8));
}
