// Q4_1: 32 weights share an f16 scale d and an f16 minimum m; x[i] = d * q[i] + m, q of 4 bits.
// Quantising: m = min x, d = (max x - m) / 15, q = (x - m) / d rounded half up; d and m are stored
// as f16.

#include "engine/quant/block_codec.h"
#include "engine/quant/half.h"
#include "engine/quant/nibbles.h"
#include "engine/quant/weight_format.h"

namespace choir::engine {
namespace {

struct Block {
  uint16_t d;
  uint16_t m;
  uint8_t qs[kNibbleBlock / 2];
};
static_assert(sizeof(Block) == 20);

void Dequantize(std::span<const uint8_t> blocks, std::span<float> elements) {
  DecodeBlocks<Block, kNibbleBlock>(blocks, elements, [](const Block& block, float* out) {
    const float d = F16ToF32(block.d);
    const float m = F16ToF32(block.m);
    for (size_t i = 0; i < kNibbleBlock; ++i) {
      out[i] = d * static_cast<float>(NibbleOf(block.qs, i)) + m;
    }
  });
}

void Quantize(std::span<const float> elements, std::span<uint8_t> blocks) {
  EncodeBlocks<Block, kNibbleBlock>(elements, blocks, [](const float* x) {
    const MinMax range = MinMaxOf(x, kNibbleBlock);
    const float d = (range.max - range.min) / 15.0f;
    const float inverse = InverseOrZero(d);
    Block block = {.d = F32ToF16(d), .m = F32ToF16(range.min), .qs = {}};
    for (size_t i = 0; i < kNibbleBlock; ++i) {
      PutNibble(block.qs, i, TruncateTo((x[i] - range.min) * inverse + 0.5f, 0, 15));
    }
    return block;
  });
}

}  // namespace

constexpr WeightFormat kQ4_1Format = {.type_id = 3,
                                      .file_type = 3,
                                      .name = "Q4_1",
                                      .block_elements = kNibbleBlock,
                                      .block_bytes = sizeof(Block),
                                      .dequantize_row = Dequantize,
                                      .quantize_row = Quantize};

}  // namespace choir::engine
