// Q2_K: 256 weights in sixteen groups of 16; group g has a scale s (low nibble of its byte) and a
// minimum m (high nibble), the block two f16 factors d and dmin: x[i] = (d * s) * q[i] - (dmin *
// m), q of 2 bits. Two halves of 128: bits 2r and 2r + 1 of byte 32h + l hold element
// 128h + 32r + l.

#include "engine/quant/affine_groups.h"
#include "engine/quant/block_codec.h"
#include "engine/quant/half.h"
#include "engine/quant/weight_format.h"

namespace choir::engine {
namespace {

constexpr size_t kElements = 256;
constexpr size_t kGroup = 16;
struct Block {
  uint8_t scales[kElements / kGroup];
  uint8_t qs[kElements / 4];
  uint16_t d;
  uint16_t dmin;
};
static_assert(sizeof(Block) == 84);

void Dequantize(std::span<const uint8_t> blocks, std::span<float> elements) {
  DecodeBlocks<Block, kElements>(blocks, elements, [](const Block& block, float* out) {
    for (size_t g = 0; g < kElements / kGroup; ++g) {
      const float scale = F16ToF32(block.d) * static_cast<float>(block.scales[g] & 15);
      const float min = F16ToF32(block.dmin) * static_cast<float>(block.scales[g] >> 4);
      const uint8_t* const qs = block.qs + g / 8 * 32 + g % 2 * kGroup;
      const size_t shift = g / 2 % 4 * 2;
      for (size_t l = 0; l < kGroup; ++l) {
        out[g * kGroup + l] = scale * static_cast<float>(qs[l] >> shift & 3) - min;
      }
    }
  });
}

void Quantize(std::span<const float> elements, std::span<uint8_t> blocks) {
  EncodeBlocks<Block, kElements>(elements, blocks, [](const float* x) {
    const auto fit = FitAffineGroups(x, {.group = kGroup, .max_quant = 3, .max_scale = 15});
    Block block = {.scales = {}, .qs = {}, .d = fit.d, .dmin = fit.dmin};
    for (size_t g = 0; g < kElements / kGroup; ++g) {
      block.scales[g] = static_cast<uint8_t>(fit.scales[g] | fit.mins[g] << 4);
    }
    for (size_t i = 0; i < kElements; ++i) {
      block.qs[i / 128 * 32 + i % 32] |= static_cast<uint8_t>(fit.quants[i] << (i / 32 % 4 * 2));
    }
    return block;
  });
}

}  // namespace

constexpr WeightFormat kQ2_KFormat = {.type_id = 10,
                                      .file_type = 10,
                                      .name = "Q2_K",
                                      .block_elements = kElements,
                                      .block_bytes = sizeof(Block),
                                      .dequantize_row = Dequantize,
                                      .quantize_row = Quantize};

}  // namespace choir::engine
