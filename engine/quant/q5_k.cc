// Q5_K: as Q4_K with q of 5 bits: bit g of qh[l] is the fifth bit of element l of group g.

#include "engine/quant/affine_groups.h"
#include "engine/quant/block_codec.h"
#include "engine/quant/half.h"
#include "engine/quant/six_bit_scales.h"
#include "engine/quant/weight_format.h"

namespace choir::engine {
namespace {

constexpr size_t kElements = 256;
constexpr size_t kGroup = 32;
struct Block {
  uint16_t d;
  uint16_t dmin;
  uint8_t scales[12];
  uint8_t qh[kGroup];
  uint8_t qs[kElements / 2];
};
static_assert(sizeof(Block) == 176);

void Dequantize(std::span<const uint8_t> blocks, std::span<float> elements) {
  DecodeBlocks<Block, kElements>(blocks, elements, [](const Block& block, float* out) {
    const SixBitScales six = UnpackSixBitScales(block.scales);
    for (size_t g = 0; g < 8; ++g) {
      const float scale = F16ToF32(block.d) * static_cast<float>(six.scales[g]);
      const float min = F16ToF32(block.dmin) * static_cast<float>(six.mins[g]);
      for (size_t l = 0; l < kGroup; ++l) {
        const int low = block.qs[g / 2 * kGroup + l] >> (g % 2 * 4) & 15;
        const int q = low | (block.qh[l] >> g & 1) << 4;
        out[g * kGroup + l] = scale * static_cast<float>(q) - min;
      }
    }
  });
}

void Quantize(std::span<const float> elements, std::span<uint8_t> blocks) {
  EncodeBlocks<Block, kElements>(elements, blocks, [](const float* x) {
    const auto fit = FitAffineGroups(x, {.group = kGroup, .max_quant = 31, .max_scale = 63});
    Block block = {.d = fit.d, .dmin = fit.dmin, .scales = {}, .qh = {}, .qs = {}};
    PackSixBitScales(fit.scales.data(), fit.mins.data(), block.scales);
    for (size_t i = 0; i < kElements; ++i) {
      const size_t g = i / kGroup;
      const size_t l = i % kGroup;
      block.qs[g / 2 * kGroup + l] |= static_cast<uint8_t>((fit.quants[i] & 15) << (g % 2 * 4));
      block.qh[l] |= static_cast<uint8_t>((fit.quants[i] >> 4) << g);
    }
    return block;
  });
}

}  // namespace

constexpr WeightFormat kQ5_KFormat = {.type_id = 13,
                                      .file_type = 16,
                                      .name = "Q5_K",
                                      .block_elements = kElements,
                                      .block_bytes = sizeof(Block),
                                      .dequantize_row = Dequantize,
                                      .quantize_row = Quantize};

}  // namespace choir::engine
