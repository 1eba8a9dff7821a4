// Q4_K: 256 weights in eight groups of 32; group g has a scale s and a minimum m of 6 bits, the
// block two f16 factors d and dmin: x[i] = (d * s) * q[i] - (dmin * m), q of 4 bits.
// Groups 2k and 2k + 1 share 32 bytes: low nibbles are the even group's.

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
  uint8_t qs[kElements / 2];
};
static_assert(sizeof(Block) == 144);

void Dequantize(std::span<const uint8_t> blocks, std::span<float> elements) {
  DecodeBlocks<Block, kElements>(blocks, elements, [](const Block& block, float* out) {
    const SixBitScales six = UnpackSixBitScales(block.scales);
    for (size_t g = 0; g < 8; ++g) {
      const float scale = F16ToF32(block.d) * static_cast<float>(six.scales[g]);
      const float min = F16ToF32(block.dmin) * static_cast<float>(six.mins[g]);
      for (size_t l = 0; l < kGroup; ++l) {
        const int q = block.qs[g / 2 * kGroup + l] >> (g % 2 * 4) & 15;
        out[g * kGroup + l] = scale * static_cast<float>(q) - min;
      }
    }
  });
}

void Quantize(std::span<const float> elements, std::span<uint8_t> blocks) {
  EncodeBlocks<Block, kElements>(elements, blocks, [](const float* x) {
    const auto fit = FitAffineGroups(x, {.group = kGroup, .max_quant = 15, .max_scale = 63});
    Block block = {.d = fit.d, .dmin = fit.dmin, .scales = {}, .qs = {}};
    PackSixBitScales(fit.scales.data(), fit.mins.data(), block.scales);
    for (size_t i = 0; i < kElements; ++i) {
      const size_t g = i / kGroup;
      block.qs[g / 2 * kGroup + i % kGroup] |= static_cast<uint8_t>(fit.quants[i] << (g % 2 * 4));
    }
    return block;
  });
}

}  // namespace

constexpr WeightFormat kQ4_KFormat = {.type_id = 12,
                                      .file_type = 14,
                                      .name = "Q4_K",
                                      .block_elements = kElements,
                                      .block_bytes = sizeof(Block),
                                      .dequantize_row = Dequantize,
                                      .quantize_row = Quantize};

}  // namespace choir::engine
