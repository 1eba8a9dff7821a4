#ifndef CHOIR_ENGINE_QUANT_BLOCK_CODEC_H_
#define CHOIR_ENGINE_QUANT_BLOCK_CODEC_H_

// What the block formats share: walking a row block by block, and rounding to small integers.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace choir::engine {

// decode(block, out) for every block of a row; out[0, kElements) is what the block stands for.
// Block is the struct as it lies in the file (no padding); rows need no alignment.
template <typename Block, size_t kElements, typename Decode>
void DecodeBlocks(std::span<const uint8_t> blocks, std::span<float> elements, Decode decode) {
  for (size_t b = 0; b < elements.size() / kElements; ++b) {
    Block block;
    std::memcpy(&block, blocks.data() + b * sizeof(Block), sizeof(Block));
    decode(block, elements.data() + b * kElements);
  }
}

// encode(x) returns the block for x[0, kElements), for every block of a row.
template <typename Block, size_t kElements, typename Encode>
void EncodeBlocks(std::span<const float> elements, std::span<uint8_t> blocks, Encode encode) {
  for (size_t b = 0; b < elements.size() / kElements; ++b) {
    const Block block = encode(elements.data() + b * kElements);
    std::memcpy(blocks.data() + b * sizeof(Block), &block, sizeof(Block));
  }
}

// Towards zero, within [low, high]; NaN gives low, so that no input overflows the integer.
inline int TruncateTo(float value, int low, int high) {
  if (!(value > static_cast<float>(low))) return low;
  return value < static_cast<float>(high) ? static_cast<int>(value) : high;
}

// To the nearest integer, halves away from zero, within [low, high]; NaN gives low.
inline int RoundTo(float value, int low, int high) {
  return TruncateTo(std::round(value), low, high);
}

// 1 / x, and 0 for 0: a block of zeros keeps a scale of zero.
inline float InverseOrZero(float x) {
  return x != 0.0f ? 1.0f / x : 0.0f;
}

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_QUANT_BLOCK_CODEC_H_
