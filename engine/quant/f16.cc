// F16: IEEE binary16.

#include <cstring>

#include "engine/quant/half.h"
#include "engine/quant/weight_format.h"

namespace choir::engine {
namespace {

void Dequantize(std::span<const uint8_t> blocks, std::span<float> elements) {
  for (size_t i = 0; i < elements.size(); ++i) {
    uint16_t bits;
    std::memcpy(&bits, blocks.data() + i * sizeof(bits), sizeof(bits));
    elements[i] = F16ToF32(bits);
  }
}

void Quantize(std::span<const float> elements, std::span<uint8_t> blocks) {
  for (size_t i = 0; i < elements.size(); ++i) {
    const uint16_t bits = F32ToF16(elements[i]);
    std::memcpy(blocks.data() + i * sizeof(bits), &bits, sizeof(bits));
  }
}

}  // namespace

constexpr WeightFormat kF16Format = {.type_id = 1,
                                     .file_type = 1,
                                     .name = "F16",
                                     .block_elements = 1,
                                     .block_bytes = sizeof(uint16_t),
                                     .dequantize_row = Dequantize,
                                     .quantize_row = Quantize};

}  // namespace choir::engine
