// Q5_0: 32 weights share one f16 scale d; x[i] = d * (q[i] - 16), q of 5 bits. Bit i of the word qh
// is the fifth bit of q[i].
// Quantising: as Q4_0, with d = m / -16.

#include "engine/quant/block_codec.h"
#include "engine/quant/half.h"
#include "engine/quant/nibbles.h"
#include "engine/quant/weight_format.h"

namespace choir::engine {
namespace {

struct Block {
  uint16_t d;
  uint8_t qh[4];
  uint8_t qs[kNibbleBlock / 2];
};
static_assert(sizeof(Block) == 22);

int QuantOf(const Block& block, size_t i) {
  return NibbleOf(block.qs, i) | ((block.qh[i / 8] >> (i % 8) & 1) << 4);
}

void Dequantize(std::span<const uint8_t> blocks, std::span<float> elements) {
  DecodeBlocks<Block, kNibbleBlock>(blocks, elements, [](const Block& block, float* out) {
    const float d = F16ToF32(block.d);
    for (size_t i = 0; i < kNibbleBlock; ++i) {
      out[i] = d * static_cast<float>(QuantOf(block, i) - 16);
    }
  });
}

void Quantize(std::span<const float> elements, std::span<uint8_t> blocks) {
  EncodeBlocks<Block, kNibbleBlock>(elements, blocks, [](const float* x) {
    const float d = LargestWithSign(x, kNibbleBlock) / -16.0f;
    const float inverse = InverseOrZero(d);
    Block block = {.d = F32ToF16(d), .qh = {}, .qs = {}};
    for (size_t i = 0; i < kNibbleBlock; ++i) {
      const int q = TruncateTo(x[i] * inverse + 16.5f, 0, 31);
      PutNibble(block.qs, i, q);
      block.qh[i / 8] |= static_cast<uint8_t>((q >> 4) << (i % 8));
    }
    return block;
  });
}

}  // namespace

constexpr WeightFormat kQ5_0Format = {.type_id = 6,
                                      .file_type = 8,
                                      .name = "Q5_0",
                                      .block_elements = kNibbleBlock,
                                      .block_bytes = sizeof(Block),
                                      .dequantize_row = Dequantize,
                                      .quantize_row = Quantize};

}  // namespace choir::engine
