// f32 -> f16, to nearest even: packHalf2x16 may round otherwise.
uint HalfBits(float value) {
  const uint bits = floatBitsToUint(value);
  const uint magnitude = bits & 0x7fffffffu;
  const uint normal =
      (magnitude - (112u << 23) + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  const uint small = magnitude < (113u << 23) ? magnitude : 0u;
  const uint subnormal = floatBitsToUint(uintBitsToFloat(small) + 0.5) - (126u << 23);
  uint bits16 = magnitude < (113u << 23) ? subnormal : normal;
  if (magnitude >= 0x477ff000u) bits16 = magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u;
  return bits16 | (bits >> 16 & 0x8000u);
}
