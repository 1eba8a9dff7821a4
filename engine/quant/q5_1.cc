// Q5_1: 32 weights share an f16 scale d and an f16 minimum m; x[i] = d * q[i] + m, q of 5 bits. Bit
// i of the word qh is the fifth bit of q[i].
// Quantising: as Q4_1, with d = (max x - min x) / 31.

#include "engine/quant/block_codec.h"
#include "engine/quant/half.h"
#include "engine/quant/nibbles.h"
#include "engine/quant/weight_format.h"

namespace choir::engine {
namespace {

struct Block {
  uint16_t d;
  uint16_t m;
  uint8_t qh[4];
  uint8_t qs[kNibbleBlock / 2];
};
static_assert(sizeof(Block) == 24);

int QuantOf(const Block& block, size_t i) {
  return NibbleOf(block.qs, i) | ((block.qh[i / 8] >> (i % 8) & 1) << 4);
}

void Dequantize(std::span<const uint8_t> blocks, std::span<float> elements) {
  DecodeBlocks<Block, kNibbleBlock>(blocks, elements, [](const Block& block, float* out) {
    const float d = F16ToF32(block.d);
    const float m = F16ToF32(block.m);
    for (size_t i = 0; i < kNibbleBlock; ++i) {
      out[i] = d * static_cast<float>(QuantOf(block, i)) + m;
    }
  });
}

void Quantize(std::span<const float> elements, std::span<uint8_t> blocks) {
  EncodeBlocks<Block, kNibbleBlock>(elements, blocks, [](const float* x) {
    const MinMax range = MinMaxOf(x, kNibbleBlock);
    const float d = (range.max - range.min) / 31.0f;
    const float inverse = InverseOrZero(d);
    Block block = {.d = F32ToF16(d), .m = F32ToF16(range.min), .qh = {}, .qs = {}};
    for (size_t i = 0; i < kNibbleBlock; ++i) {
      const int q = TruncateTo((x[i] - range.min) * inverse + 0.5f, 0, 31);
      PutNibble(block.qs, i, q);
      block.qh[i / 8] |= static_cast<uint8_t>((q >> 4) << (i % 8));
    }
    return block;
  });
}

}  // namespace

constexpr WeightFormat kQ5_1Format = {.type_id = 7,
                                      .file_type = 9,
                                      .name = "Q5_1",
                                      .block_elements = kNibbleBlock,
                                      .block_bytes = sizeof(Block),
                                      .dequantize_row = Dequantize,
                                      .quantize_row = Quantize};

}  // namespace choir::engine
