// Q3_K: 256 weights in groups of 16; w[i] = (d * s) * (q[i] - 4). 110 bytes a block: 32 bytes of
// third bits, 64 bytes of the low two, 12 bytes of 6-bit scales (plus 32), d.
vec4 LoadQuad(uint row_byte, uint col) {
  const uint block = row_byte + (col / 256u) * 110u;
  const uint i = col % 256u;
  const uint g = i / 16u;
  const uint low = (LoadU8(block + 96u + g % 8u) >> (g / 8u * 4u)) & 15u;
  const uint high = (LoadU8(block + 104u + g % 4u) >> (g / 4u * 2u)) & 3u;
  const float scale = LoadF16(block + 108u) * (float(low | high << 4) - 32.0);
  const uint q2 = (LoadU32(block + 32u + i / 128u * 32u + i % 32u) >> (i / 32u % 4u * 2u)) & 0x03030303u;
  const uint q1 = (LoadU32(block + i % 32u) >> (i / 32u)) & 0x01010101u;
  return scale * (BytesOf(q2 | q1 << 2) - 4.0);
}
