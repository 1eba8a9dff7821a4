// F32: the value itself.

#include <cstring>

#include "engine/quant/weight_format.h"

namespace choir::engine {
namespace {

void Dequantize(std::span<const uint8_t> blocks, std::span<float> elements) {
  if (!elements.empty()) std::memcpy(elements.data(), blocks.data(), elements.size_bytes());
}

void Quantize(std::span<const float> elements, std::span<uint8_t> blocks) {
  if (!elements.empty()) std::memcpy(blocks.data(), elements.data(), elements.size_bytes());
}

}  // namespace

constexpr WeightFormat kF32Format = {.type_id = 0,
                                     .file_type = 0,
                                     .name = "F32",
                                     .block_elements = 1,
                                     .block_bytes = sizeof(float),
                                     .dequantize_row = Dequantize,
                                     .quantize_row = Quantize};

}  // namespace choir::engine
