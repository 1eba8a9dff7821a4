// Q8_0: 32 weights share one f16 scale d; x[i] = d * q[i].
// Quantising: d = max|x| / 127 in f32, q = x / d rounded half away from zero; d is stored as f16.

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/quant/half.h"
#include "engine/quant/weight_format.h"

namespace choir::engine {
namespace {

constexpr size_t kElements = 32;
struct Block {
  uint16_t d;
  int8_t q[kElements];
};
static_assert(sizeof(Block) == 34);

void Dequantize(std::span<const uint8_t> blocks, std::span<float> elements) {
  for (size_t b = 0; b < elements.size() / kElements; ++b) {
    Block block;
    std::memcpy(&block, blocks.data() + b * sizeof(Block), sizeof(Block));
    const float d = F16ToF32(block.d);
    float* out = elements.data() + b * kElements;
    for (size_t i = 0; i < kElements; ++i) out[i] = d * static_cast<float>(block.q[i]);
  }
}

void Quantize(std::span<const float> elements, std::span<uint8_t> blocks) {
  for (size_t b = 0; b < elements.size() / kElements; ++b) {
    const float* x = elements.data() + b * kElements;
    float largest = 0.0f;
    for (size_t i = 0; i < kElements; ++i) largest = std::max(largest, std::fabs(x[i]));
    const float d = largest / 127.0f;
    const float inverse = d != 0.0f ? 1.0f / d : 0.0f;
    Block block;
    block.d = F32ToF16(d);
    for (size_t i = 0; i < kElements; ++i) {
      // The clamp changes no finite value; it keeps infinities and NaN from overflowing the cast.
      const float q = std::clamp(std::round(x[i] * inverse), -127.0f, 127.0f);
      block.q[i] = static_cast<int8_t>(q == q ? q : 0.0f);
    }
    std::memcpy(blocks.data() + b * sizeof(Block), &block, sizeof(Block));
  }
}

}  // namespace

constexpr WeightFormat kQ8_0Format = {.type_id = 8,
                                      .file_type = 7,
                                      .name = "Q8_0",
                                      .block_elements = kElements,
                                      .block_bytes = sizeof(Block),
                                      .dequantize_row = Dequantize,
                                      .quantize_row = Quantize};

}  // namespace choir::engine
