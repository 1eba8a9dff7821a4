#include "engine/ops/tensor_desc.h"

#include <fmt/format.h>

#include "base/check.h"
#include "engine/quant/weight_format.h"

namespace choir::engine {

int64_t SizeBytes(const TensorDesc& desc) {
  if (desc.dtype != DType::kWeight) return desc.shape.NumElements() * 4;
  CHOIR_CHECK(desc.format != nullptr);
  const size_t row_bytes = desc.format->RowBytes(static_cast<size_t>(desc.shape.cols));
  return desc.shape.rows * static_cast<int64_t>(row_bytes);
}

std::string ToString(const TensorDesc& desc) {
  std::string_view type = "f32";
  if (desc.dtype == DType::kI32) type = "i32";
  if (desc.dtype == DType::kWeight) {
    type = desc.format == nullptr ? "weight without a format" : desc.format->name;
  }
  return fmt::format("{} {}x{}", type, desc.shape.rows, desc.shape.cols);
}

}  // namespace choir::engine
