// Q5_1: 32 weights share an f16 scale and minimum; w[i] = d * q[i] + m. 24 bytes a block: d, m, a
// word with the fifth bits, then byte j with the low nibbles of q[j] and q[j + 16].
vec4 LoadQuad(uint row_byte, uint col) {
  const uint block = row_byte + (col / 32u) * 24u;
  const uint i = col % 32u;
  const uint low = (LoadU32(block + 8u + i % 16u) >> (i / 16u * 4u)) & 0x0f0f0f0fu;
  const vec4 q = BytesOf(low) + 16.0 * BitsOf(LoadU32(block + 4u) >> i);
  return LoadF16(block) * q + LoadF16(block + 2u);
}
