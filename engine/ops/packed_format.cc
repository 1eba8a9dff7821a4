#include "engine/ops/packed_format.h"

namespace choir::engine {

bool IsPackedFormat(const WeightFormat* format) {
  return format == &kBF16Format || format == &kQ8_0Format;
}

const WeightFormat* PackedFormatOf(const Attrs& attrs) {
  const double number = attrs.FloatOr("format", -1);
  for (const WeightFormat* const format : {&kBF16Format, &kQ8_0Format}) {
    if (number == static_cast<double>(format->type_id)) return format;
  }
  return nullptr;
}

}  // namespace choir::engine
