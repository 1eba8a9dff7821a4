// Q2_K: 256 weights in groups of 16; w[i] = (d * s) * q[i] - (dmin * m). 84 bytes a block: a byte a
// group (s low, m high nibble), 64 bytes of q, d, dmin.
vec4 LoadQuad(uint row_byte, uint col) {
  const uint block = row_byte + (col / 256u) * 84u;
  const uint i = col % 256u;
  const uint sm = LoadU8(block + i / 16u);
  const uint q = (LoadU32(block + 16u + i / 128u * 32u + i % 32u) >> (i / 32u % 4u * 2u)) & 0x03030303u;
  const float scale = LoadF16(block + 80u) * float(sm & 15u);
  return scale * BytesOf(q) - LoadF16(block + 82u) * float(sm >> 4);
}
