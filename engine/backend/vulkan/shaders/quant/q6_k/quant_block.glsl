// Q6_K: 256 weights in groups of 16; w[i] = (d * s) * (q[i] - 32). 210 bytes a block: 128 bytes of
// low nibbles, 64 bytes of the upper two bits, 16 int8 s, d. Two halves, each of four runs of 32.
vec4 LoadQuad(uint row_byte, uint col) {
  const uint block = row_byte + (col / 256u) * 210u;
  const uint i = col % 256u;
  const uint run = i / 32u % 4u;
  const uint l = i % 32u;
  const uint low = (LoadU32(block + i / 128u * 64u + run % 2u * 32u + l) >> (run / 2u * 4u)) & 0x0f0f0f0fu;
  const uint high = (LoadU32(block + 128u + i / 128u * 32u + l) >> (run * 2u)) & 0x03030303u;
  const int s = bitfieldExtract(int(LoadU8(block + 192u + i / 16u)), 0, 8);
  return LoadF16(block + 208u) * float(s) * (BytesOf(low | high << 4) - 32.0);
}
