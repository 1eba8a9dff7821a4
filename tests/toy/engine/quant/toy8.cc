// TOY8: 32 weights share one f32 scale d; x[i] = d * q[i], q of 8 bits. A format of no use, in the
// container's Q8_1, of which no model file makes use either.

#include <algorithm>
#include <cmath>

#include "engine/quant/block_codec.h"
#include "engine/quant/weight_format.h"

namespace choir::engine {
namespace {

constexpr size_t kBlock = 32;

struct Block {
  float d;
  int8_t q[kBlock];
};
static_assert(sizeof(Block) == 36);

void Dequantize(std::span<const uint8_t> blocks, std::span<float> elements) {
  DecodeBlocks<Block, kBlock>(blocks, elements, [](const Block& block, float* out) {
    for (size_t i = 0; i < kBlock; ++i) out[i] = block.d * static_cast<float>(block.q[i]);
  });
}

void Quantize(std::span<const float> elements, std::span<uint8_t> blocks) {
  EncodeBlocks<Block, kBlock>(elements, blocks, [](const float* x) {
    float largest = 0;
    for (size_t i = 0; i < kBlock; ++i) largest = std::max(largest, std::abs(x[i]));
    Block block = {.d = largest / 127.0f, .q = {}};
    for (size_t i = 0; i < kBlock && largest > 0; ++i) {
      block.q[i] = static_cast<int8_t>(std::lround(x[i] / block.d));
    }
    return block;
  });
}

}  // namespace

constexpr WeightFormat kTOY8Format = {.type_id = 9,
                                      .file_type = 9,
                                      .name = "TOY8",
                                      .block_elements = kBlock,
                                      .block_bytes = sizeof(Block),
                                      .dequantize_row = Dequantize,
                                      .quantize_row = Quantize};

}  // namespace choir::engine
