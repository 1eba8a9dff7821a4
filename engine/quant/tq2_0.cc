// TQ2_0: 256 ternary weights, 2 bits each, and one f16 scale d; x[i] = d * (digit[i] - 1).
// Two halves of 128: bits 2r and 2r + 1 of byte 32h + l are the digit of element 128h + 32r + l.

#include "engine/quant/ternary.h"
#include "engine/quant/weight_format.h"

namespace choir::engine {
namespace {

struct Block {
  uint8_t qs[64];
  uint16_t d;
};
static_assert(sizeof(Block) == 66);

void Dequantize(std::span<const uint8_t> blocks, std::span<float> elements) {
  DecodeBlocks<Block, kTernaryBlock>(blocks, elements, [](const Block& block, float* out) {
    const float d = F16ToF32(block.d);
    for (size_t run = 0; run < kTernaryBlock / 32; ++run) {
      const uint8_t* const qs = block.qs + run / 4 * 32;
      for (size_t l = 0; l < 32; ++l) {
        out[run * 32 + l] = d * static_cast<float>((qs[l] >> (run % 4 * 2) & 3) - 1);
      }
    }
  });
}

void Quantize(std::span<const float> elements, std::span<uint8_t> blocks) {
  EncodeBlocks<Block, kTernaryBlock>(elements, blocks, [](const float* x) {
    const TernaryDigits ternary = ToTernary(x);
    Block block = {.qs = {}, .d = ternary.d};
    for (size_t i = 0; i < kTernaryBlock; ++i) {
      block.qs[i / 128 * 32 + i % 32] |=
          static_cast<uint8_t>(ternary.digits[i] << (i / 32 % 4 * 2));
    }
    return block;
  });
}

}  // namespace

constexpr WeightFormat kTQ2_0Format = {.type_id = 35,
                                       .file_type = 37,
                                       .name = "TQ2_0",
                                       .block_elements = kTernaryBlock,
                                       .block_bytes = sizeof(Block),
                                       .dequantize_row = Dequantize,
                                       .quantize_row = Quantize};

}  // namespace choir::engine
