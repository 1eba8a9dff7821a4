#ifndef CHOIR_ENGINE_BACKEND_CPU_DEQUANTIZE_H_
#define CHOIR_ENGINE_BACKEND_CPU_DEQUANTIZE_H_

#include <cstdint>
#include <span>

#include "engine/quant/weight_format.h"

namespace choir::engine {

// WeightFormat::dequantize_row with this CPU's vectors, for the formats of most models, bit for bit
// the same; the format's own function for all others.
using RowDequantizer = void (*)(std::span<const uint8_t> blocks, std::span<float> elements);
RowDequantizer RowDequantizerOf(const WeightFormat& format);

// The same row straight to bfloat16, rounded as ConvertToBf16 rounds; null for a format that has
// none.
using RowRounder = void (*)(std::span<const uint8_t> blocks, std::span<uint16_t> elements);
RowRounder RowRounderOf(const WeightFormat& format);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_BACKEND_CPU_DEQUANTIZE_H_
