// Q6_K: 256 weights in sixteen groups of 16; group g has an int8 scale s, the block one f16 factor
// d: x[i] = (d * s) * (q[i] - 32), q of 6 bits.
// Two halves of 128, each of four runs of 32. The low four bits of run r lie in ql[64h + 32(r % 2)
// + l], in the low nibble for r < 2, the upper two in bits 2r and 2r + 1 of qh[32h + l].

#include "engine/quant/block_codec.h"
#include "engine/quant/half.h"
#include "engine/quant/symmetric_groups.h"
#include "engine/quant/weight_format.h"

namespace choir::engine {
namespace {

constexpr size_t kElements = 256;
constexpr size_t kGroup = 16;
struct Block {
  uint8_t ql[kElements / 2];
  uint8_t qh[kElements / 4];
  int8_t scales[kElements / kGroup];
  uint16_t d;
};
static_assert(sizeof(Block) == 210);

// Where the bits of element i lie.
struct Place {
  size_t low_byte;
  size_t low_shift;
  size_t high_byte;
  size_t high_shift;
};
Place PlaceOf(size_t i) {
  const size_t half = i / 128;
  const size_t run = i / 32 % 4;
  const size_t l = i % 32;
  return {half * 64 + run % 2 * 32 + l, run / 2 * 4, half * 32 + l, run * 2};
}

void Dequantize(std::span<const uint8_t> blocks, std::span<float> elements) {
  DecodeBlocks<Block, kElements>(blocks, elements, [](const Block& block, float* out) {
    for (size_t g = 0; g < kElements / kGroup; ++g) {
      const float scale = F16ToF32(block.d) * static_cast<float>(block.scales[g]);
      const Place first = PlaceOf(g * kGroup);
      for (size_t l = 0; l < kGroup; ++l) {
        const int low = block.ql[first.low_byte + l] >> first.low_shift & 15;
        const int high = block.qh[first.high_byte + l] >> first.high_shift & 3;
        out[g * kGroup + l] = scale * static_cast<float>((low | high << 4) - 32);
      }
    }
  });
}

void Quantize(std::span<const float> elements, std::span<uint8_t> blocks) {
  EncodeBlocks<Block, kElements>(elements, blocks, [](const float* x) {
    const auto fit = FitSymmetricGroups(x, {.quants = 32, .scales = 128});
    Block block = {.ql = {}, .qh = {}, .scales = {}, .d = fit.d};
    for (size_t g = 0; g < kElements / kGroup; ++g) {
      block.scales[g] = static_cast<int8_t>(fit.scales[g]);
    }
    for (size_t i = 0; i < kElements; ++i) {
      const Place place = PlaceOf(i);
      const int q = fit.quants[i] + 32;
      block.ql[place.low_byte] |= static_cast<uint8_t>((q & 15) << place.low_shift);
      block.qh[place.high_byte] |= static_cast<uint8_t>((q >> 4) << place.high_shift);
    }
    return block;
  });
}

}  // namespace

constexpr WeightFormat kQ6_KFormat = {.type_id = 14,
                                      .file_type = 18,
                                      .name = "Q6_K",
                                      .block_elements = kElements,
                                      .block_bytes = sizeof(Block),
                                      .dequantize_row = Dequantize,
                                      .quantize_row = Quantize};

}  // namespace choir::engine
