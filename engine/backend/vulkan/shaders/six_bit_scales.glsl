// The scale and minimum of group g (0 to 7) of a Q4_K or Q5_K block, whose twelve bytes of packed
// 6-bit numbers start at `byte`: groups 0-3 in the low bits of bytes 0-3 and 4-7; groups 4-7 with
// their low nibbles in bytes 8-11 and their upper two bits in the upper bits of the first eight.
vec2 SixBitScales(uint byte, uint g) {
  const uint shift = g % 4u * 8u;
  const uint s = LoadU32(byte) >> shift;
  const uint m = LoadU32(byte + 4u) >> shift;
  if (g < 4u) return vec2(s & 63u, m & 63u);
  const uint low = LoadU32(byte + 8u) >> shift;
  return vec2((low & 15u) | (s >> 2 & 48u), (low >> 4 & 15u) | (m >> 2 & 48u));
}
