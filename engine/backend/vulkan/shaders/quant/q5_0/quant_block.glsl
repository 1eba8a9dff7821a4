// Q5_0: 32 weights share one f16 scale; w[i] = d * (q[i] - 16). 22 bytes a block: d, a word with the
// fifth bits, then byte j with the low nibbles of q[j] and q[j + 16].
vec4 LoadQuad(uint row_byte, uint col) {
  const uint block = row_byte + (col / 32u) * 22u;
  const uint i = col % 32u;
  const uint low = (LoadU32(block + 6u + i % 16u) >> (i / 16u * 4u)) & 0x0f0f0f0fu;
  const vec4 q = BytesOf(low) + 16.0 * BitsOf(LoadU32(block + 2u) >> i);
  return LoadF16(block) * (q - 16.0);
}
