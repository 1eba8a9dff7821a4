// TQ1_0: 256 ternary weights, five to a byte, and one f16 scale d; x[i] = d * (digit[i] - 1).
// A byte holds up to five base-3 digits, the first most significant, as the fraction v / 243 in
// 8 bits, rounded up: multiplying it by 3 lifts the next digit out of the byte, without division.
// Bytes lie in three runs: 32 of five digits, 16 of five, 4 of four (a fifth digit of 0). Digit n
// of byte m of a run of k bytes is the run's element k * n + m.

#include "engine/quant/ternary.h"
#include "engine/quant/weight_format.h"

namespace choir::engine {
namespace {

struct Block {
  uint8_t qs[52];
  uint16_t d;
};
static_assert(sizeof(Block) == 54);

struct Run {
  size_t first_byte;
  size_t bytes;
  size_t digits;
  size_t first_element;
};
constexpr Run kRuns[] = {{0, 32, 5, 0}, {32, 16, 5, 160}, {48, 4, 4, 240}};

void Dequantize(std::span<const uint8_t> blocks, std::span<float> elements) {
  DecodeBlocks<Block, kTernaryBlock>(blocks, elements, [](const Block& block, float* out) {
    const float d = F16ToF32(block.d);
    for (const Run& run : kRuns) {
      uint32_t power = 1;
      for (size_t n = 0; n < run.digits; ++n, power *= 3) {
        float* const digits = out + run.first_element + n * run.bytes;
        for (size_t m = 0; m < run.bytes; ++m) {
          const uint32_t fraction = block.qs[run.first_byte + m] * power & 0xff;
          digits[m] = d * static_cast<float>(static_cast<int>(fraction * 3 >> 8) - 1);
        }
      }
    }
  });
}

void Quantize(std::span<const float> elements, std::span<uint8_t> blocks) {
  EncodeBlocks<Block, kTernaryBlock>(elements, blocks, [](const float* x) {
    const TernaryDigits ternary = ToTernary(x);
    Block block = {.qs = {}, .d = ternary.d};
    for (const Run& run : kRuns) {
      for (size_t m = 0; m < run.bytes; ++m) {
        uint32_t value = 0;
        for (size_t n = 0; n < 5; ++n) {
          const uint32_t digit =
              n < run.digits ? ternary.digits[run.first_element + n * run.bytes + m] : 0;
          value = value * 3 + digit;
        }
        block.qs[run.first_byte + m] = static_cast<uint8_t>((value * 256 + 242) / 243);
      }
    }
    return block;
  });
}

}  // namespace

constexpr WeightFormat kTQ1_0Format = {.type_id = 34,
                                       .file_type = 36,
                                       .name = "TQ1_0",
                                       .block_elements = kTernaryBlock,
                                       .block_bytes = sizeof(Block),
                                       .dequantize_row = Dequantize,
                                       .quantize_row = Quantize};

}  // namespace choir::engine
