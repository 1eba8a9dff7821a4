// Q4_1: 32 weights share an f16 scale and minimum; w[i] = d * q[i] + m. 20 bytes a block: d, m, then
// byte j with q[j] in the low and q[j + 16] in the high nibble.
vec4 LoadQuad(uint row_byte, uint col) {
  const uint block = row_byte + (col / 32u) * 20u;
  const uint i = col % 32u;
  const uint q = (LoadU32(block + 4u + i % 16u) >> (i / 16u * 4u)) & 0x0f0f0f0fu;
  return LoadF16(block) * BytesOf(q) + LoadF16(block + 2u);
}
