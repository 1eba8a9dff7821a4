// Q4_0: 32 weights share one f16 scale d; x[i] = d * (q[i] - 8), q of 4 bits.
// Quantising: d = m / -8, where m is the element of largest magnitude with its sign, so that m
// itself is kept; q = x / d + 8 rounded half up. d is stored as f16.

#include "engine/quant/block_codec.h"
#include "engine/quant/half.h"
#include "engine/quant/nibbles.h"
#include "engine/quant/weight_format.h"

namespace choir::engine {
namespace {

struct Block {
  uint16_t d;
  uint8_t qs[kNibbleBlock / 2];
};
static_assert(sizeof(Block) == 18);

void Dequantize(std::span<const uint8_t> blocks, std::span<float> elements) {
  DecodeBlocks<Block, kNibbleBlock>(blocks, elements, [](const Block& block, float* out) {
    const float d = F16ToF32(block.d);
    for (size_t j = 0; j < kNibbleBlock / 2; ++j) {
      out[j] = d * static_cast<float>((block.qs[j] & 15) - 8);
      out[j + kNibbleBlock / 2] = d * static_cast<float>((block.qs[j] >> 4) - 8);
    }
  });
}

void Quantize(std::span<const float> elements, std::span<uint8_t> blocks) {
  EncodeBlocks<Block, kNibbleBlock>(elements, blocks, [](const float* x) {
    const float d = LargestWithSign(x, kNibbleBlock) / -8.0f;
    const float inverse = InverseOrZero(d);
    Block block = {.d = F32ToF16(d), .qs = {}};
    for (size_t i = 0; i < kNibbleBlock; ++i) {
      PutNibble(block.qs, i, TruncateTo(x[i] * inverse + 8.5f, 0, 15));
    }
    return block;
  });
}

}  // namespace

constexpr WeightFormat kQ4_0Format = {.type_id = 2,
                                      .file_type = 2,
                                      .name = "Q4_0",
                                      .block_elements = kNibbleBlock,
                                      .block_bytes = sizeof(Block),
                                      .dequantize_row = Dequantize,
                                      .quantize_row = Quantize};

}  // namespace choir::engine
