#ifndef CHOIR_ENGINE_BACKEND_CPU_DEQUANTIZE_H_
#define CHOIR_ENGINE_BACKEND_CPU_DEQUANTIZE_H_

#include <cstdint>
#include <span>

#include "engine/quant/weight_format.h"

namespace choir::engine {

// WeightFormat::dequantize_row with this CPU's vectors, for the formats whose rows are converted
// most (F16, BF16, Q8_0), bit for bit the same; the format's own function for all others.
using RowDequantizer = void (*)(std::span<const uint8_t> blocks, std::span<float> elements);

RowDequantizer RowDequantizerOf(const WeightFormat& format);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_BACKEND_CPU_DEQUANTIZE_H_
