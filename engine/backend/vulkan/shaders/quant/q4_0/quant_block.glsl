// Q4_0: 32 weights share one f16 scale; w[i] = d * (q[i] - 8). 18 bytes a block: d, then byte j with
// q[j] in the low and q[j + 16] in the high nibble.
vec4 LoadQuad(uint row_byte, uint col) {
  const uint block = row_byte + (col / 32u) * 18u;
  const uint i = col % 32u;
  const uint q = (LoadU32(block + 2u + i % 16u) >> (i / 16u * 4u)) & 0x0f0f0f0fu;
  return LoadF16(block) * (BytesOf(q) - 8.0);
}
