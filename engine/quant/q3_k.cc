// Q3_K: 256 weights in sixteen groups of 16; group g has a scale s of 6 bits, stored plus 32, the
// block one f16 factor d: x[i] = (d * s) * (q[i] - 4), q of 3 bits.
// Two halves of 128: bits 2r and 2r + 1 of qs[32h + l] are the low bits of element 128h + 32r + l,
// bit 4h + r of hmask[l] is its third. Scales: low nibbles of groups 0-7 and 8-15 share bytes 0-7;
// the upper two bits of group g are bits 2 * (g / 4) of byte 8 + g % 4.

#include "engine/quant/block_codec.h"
#include "engine/quant/half.h"
#include "engine/quant/symmetric_groups.h"
#include "engine/quant/weight_format.h"

namespace choir::engine {
namespace {

constexpr size_t kElements = 256;
constexpr size_t kGroup = 16;
struct Block {
  uint8_t hmask[kElements / 8];
  uint8_t qs[kElements / 4];
  uint8_t scales[12];
  uint16_t d;
};
static_assert(sizeof(Block) == 110);

int ScaleOf(const Block& block, size_t g) {
  const int low = block.scales[g % 8] >> (g / 8 * 4) & 15;
  const int high = block.scales[8 + g % 4] >> (g / 4 * 2) & 3;
  return (low | high << 4) - 32;
}

void PutScale(Block& block, size_t g, int scale) {
  const int stored = scale + 32;
  block.scales[g % 8] |= static_cast<uint8_t>((stored & 15) << (g / 8 * 4));
  block.scales[8 + g % 4] |= static_cast<uint8_t>((stored >> 4) << (g / 4 * 2));
}

void Dequantize(std::span<const uint8_t> blocks, std::span<float> elements) {
  DecodeBlocks<Block, kElements>(blocks, elements, [](const Block& block, float* out) {
    for (size_t g = 0; g < kElements / kGroup; ++g) {
      const float scale = F16ToF32(block.d) * static_cast<float>(ScaleOf(block, g));
      const uint8_t* const qs = block.qs + g / 8 * 32 + g % 2 * kGroup;
      const uint8_t* const hmask = block.hmask + g % 2 * kGroup;
      const size_t shift = g / 2 % 4 * 2;
      for (size_t l = 0; l < kGroup; ++l) {
        const int low = qs[l] >> shift & 3;
        const int high = hmask[l] >> (g / 2) & 1;
        out[g * kGroup + l] = scale * static_cast<float>((low | high << 2) - 4);
      }
    }
  });
}

void Quantize(std::span<const float> elements, std::span<uint8_t> blocks) {
  EncodeBlocks<Block, kElements>(elements, blocks, [](const float* x) {
    const auto fit = FitSymmetricGroups(x, {.quants = 4, .scales = 32});
    Block block = {.hmask = {}, .qs = {}, .scales = {}, .d = fit.d};
    for (size_t g = 0; g < kElements / kGroup; ++g) PutScale(block, g, fit.scales[g]);
    for (size_t i = 0; i < kElements; ++i) {
      const int q = fit.quants[i] + 4;
      block.qs[i / 128 * 32 + i % 32] |= static_cast<uint8_t>((q & 3) << (i / 32 % 4 * 2));
      block.hmask[i % 32] |= static_cast<uint8_t>((q >> 2) << (i / 32));
    }
    return block;
  });
}

}  // namespace

constexpr WeightFormat kQ3_KFormat = {.type_id = 11,
                                      .file_type = 11,
                                      .name = "Q3_K",
                                      .block_elements = kElements,
                                      .block_bytes = sizeof(Block),
                                      .dequantize_row = Dequantize,
                                      .quantize_row = Quantize};

}  // namespace choir::engine
