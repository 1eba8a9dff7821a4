#ifndef CHOIR_ENGINE_OPS_PACKED_FORMAT_H_
#define CHOIR_ENGINE_OPS_PACKED_FORMAT_H_

#include "engine/ops/attrs.h"
#include "engine/quant/weight_format.h"

namespace choir::engine {

// The formats in which activations wait for the backward pass: BF16, which rounds each value by up
// to 2^-9 of itself, and Q8_0, by up to 1/254 of the largest of its block of 32. Every backend
// packs and unpacks these.
bool IsPackedFormat(const WeightFormat* format);

// That of a pack node; null if its attribute names none.
const WeightFormat* PackedFormatOf(const Attrs& attrs);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_OPS_PACKED_FORMAT_H_
