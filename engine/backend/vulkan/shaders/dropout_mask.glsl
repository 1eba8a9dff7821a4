// The mask of engine/ops/dropout_mask.h: the random words of columns 4 * quad .. 4 * quad + 3 of a
// row. Philox4x32-10 (Salmon et al. 2011).
uvec4 DropoutWords(uint row, uint quad, uint site, uint micro_batch, uvec2 key) {
  uvec4 c = uvec4(quad, row, site, micro_batch);
  for (int i = 0; i < 10; ++i) {
    uint high0, low0, high1, low1;
    umulExtended(0xD2511F53u, c.x, high0, low0);
    umulExtended(0xCD9E8D57u, c.z, high1, low1);
    c = uvec4(high1 ^ c.y ^ key.x, low1, high0 ^ c.w ^ key.y, low0);
    key += uvec2(0x9E3779B9u, 0xBB67AE85u);
  }
  return c;
}
