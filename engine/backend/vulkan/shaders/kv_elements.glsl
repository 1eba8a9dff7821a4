// Keys and values as numbers of one format, read as 32-bit words, so that no device needs 8- or
// 16-bit storage. KV_LOADER(Name, words) defines float Name(at, row, col, cols): an element of a
// matrix whose first word is words[at]. kKvFormat, which must be declared: 0 f32, 1 F16, 2 Q8_0
// (blocks of an f16 scale and 32 int8, 34 bytes; cols is a multiple of 32).
#define KV_LOADER(Name, words)                                                       \
  float Name(uint at, uint row, uint col, uint cols) {                               \
    const uint element = row * cols + col;                                           \
    if (kKvFormat == 0u) return uintBitsToFloat(words[at + element]);                \
    if (kKvFormat == 1u) {                                                           \
      const vec2 pair = unpackHalf2x16(words[at + (element >> 1)]);                  \
      return (element & 1u) == 0u ? pair.x : pair.y;                                 \
    }                                                                                \
    const uint byte = (row * (cols >> 5) + (col >> 5)) * 34u;                        \
    const vec2 pair = unpackHalf2x16(words[at + (byte >> 2)]);                       \
    const uint q_byte = byte + 2u + (col & 31u);                                     \
    const int word = int(words[at + (q_byte >> 2)]);                                 \
    const int q = bitfieldExtract(word, int(q_byte & 3u) * 8, 8);                    \
    return ((byte & 2u) == 0u ? pair.x : pair.y) * float(q);                         \
  }
