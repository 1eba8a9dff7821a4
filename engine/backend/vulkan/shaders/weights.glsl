// A frozen weight as it stands in the model file, read as 32-bit words and unpacked here, so that
// no device needs 8- or 16-bit storage. The build's include path chooses quant_block.glsl, which
// gives
//   vec4 LoadQuad(uint row_byte, uint col)   elements col..col+3 (col % 4 == 0) of the row that
//                                            starts at this byte of the binding.
// Past the row's end the values are anything (NaN too): select, never multiply by zero.
// WEIGHT_BINDING must be defined; WEIGHT_TEXELS if the binding is a texel buffer of words.
#ifdef WEIGHT_TEXELS
layout(binding = WEIGHT_BINDING) uniform utextureBuffer weight_words;
uint Word(uint i) { return texelFetch(weight_words, int(i)).x; }
#else
layout(binding = WEIGHT_BINDING, std430) readonly buffer Weights { uint words[]; };
uint Word(uint i) { return words[i]; }
#endif

// `byte` is even, but for LoadU8.
uint LoadU16(uint byte) { return bitfieldExtract(Word(byte >> 2), int(byte & 2u) * 8, 16); }
uint LoadU32(uint byte) {
  const uint i = byte >> 2;
  const uint low = Word(i);
  return (byte & 2u) == 0u ? low : (low >> 16) | (Word(i + 1u) << 16);
}
uint LoadU8(uint byte) { return bitfieldExtract(Word(byte >> 2), int(byte & 3u) * 8, 8); }
float LoadF16(uint byte) { return unpackHalf2x16(LoadU16(byte)).x; }
// The four bytes of a word, the lowest first; its four lowest bits.
vec4 BytesOf(uint word) {
  return vec4(word & 255u, word >> 8 & 255u, word >> 16 & 255u, word >> 24);
}
vec4 BitsOf(uint word) { return vec4(word & 1u, word >> 1 & 1u, word >> 2 & 1u, word >> 3 & 1u); }

#include "quant_block.glsl"

// The same, with zeros for columns from `cols` on.
vec4 LoadQuadBounded(uint row_byte, uint col, uint cols) {
  const vec4 quad = LoadQuad(row_byte, col);
  return mix(vec4(0.0), quad, lessThan(uvec4(col) + uvec4(0u, 1u, 2u, 3u), uvec4(cols)));
}
