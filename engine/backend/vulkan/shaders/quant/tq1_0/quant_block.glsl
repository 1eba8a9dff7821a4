// TQ1_0: 256 ternary weights share one f16 scale; w[i] = d * (digit[i] - 1). 54 bytes a block: runs
// of 32 bytes of five base-3 digits, 16 of five, 4 of four, then d. Digit n of byte m of a run of k
// bytes is the run's element k * n + m; multiplying a byte by 3^(n+1) lifts digit n out of its top.
vec4 LoadQuad(uint row_byte, uint col) {
  const uint block = row_byte + (col / 256u) * 54u;
  const uint i = col % 256u;
  const uvec2 first = i < 160u ? uvec2(0u) : (i < 240u ? uvec2(160u, 32u) : uvec2(240u, 48u));
  const uint bytes = i < 160u ? 32u : (i < 240u ? 16u : 4u);
  const uint within = i - first.x;
  const uint powers[5] = uint[](1u, 3u, 9u, 27u, 81u);
  const uint q = LoadU32(block + first.y + within % bytes);
  const uvec4 fractions = (uvec4(q, q >> 8, q >> 16, q >> 24) * powers[within / bytes]) & 255u;
  return LoadF16(block + 52u) * (vec4(fractions * 3u >> 8) - 1.0);
}
