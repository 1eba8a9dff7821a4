// Powers of two that bring numbers into fp16's range and back, exactly.

// Of the largest magnitude of a group, as its bits: multiplied with it, that lies in [16, 32), so that
// 16 products of two such numbers stay below fp16's 65504 and what is 2^18 times smaller keeps all
// its bits. Infinities and NaN remain what they are.
float HalfScale(uint peak_bits) {
  return uintBitsToFloat(uint(clamp(258 - int(peak_bits >> 23), 1, 253)) << 23);
}
// 1 / scale.
float Inverse(float scale) { return uintBitsToFloat((254u << 23) - floatBitsToUint(scale)); }
