// TQ2_0: 256 ternary weights share one f16 scale; w[i] = d * (digit[i] - 1). 66 bytes a block: 64
// bytes of four digits, d. Bits 2r, 2r + 1 of byte 32h + l are element 128h + 32r + l.
vec4 LoadQuad(uint row_byte, uint col) {
  const uint block = row_byte + (col / 256u) * 66u;
  const uint i = col % 256u;
  const uint q = (LoadU32(block + i / 128u * 32u + i % 32u) >> (i / 32u % 4u * 2u)) & 0x03030303u;
  return LoadF16(block + 64u) * (BytesOf(q) - 1.0);
}
