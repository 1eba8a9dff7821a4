#ifndef CHOIR_ENGINE_QUANT_WEIGHT_FORMAT_H_
#define CHOIR_ENGINE_QUANT_WEIGHT_FORMAT_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "absl/status/statusor.h"

namespace choir::engine {

// How one format stores a row of weights: `block_elements` values in `block_bytes` bytes, blocks
// side by side, little-endian. A row holds a whole number of blocks.
struct WeightFormat {
  uint32_t type_id = 0;    // the tensor type's number in GGUF
  uint32_t file_type = 0;  // general.file_type of a file whose matrices are all of this format
  std::string_view name;
  size_t block_elements = 1;
  size_t block_bytes = 0;

  // Whole blocks: elements.size() % block_elements == 0, blocks.size() ==
  // RowBytes(elements.size()). Neither side needs any alignment. Rounding is that of ggml, bit for
  // bit.
  void (*dequantize_row)(std::span<const uint8_t> blocks, std::span<float> elements) = nullptr;
  // Null where this project only reads the format.
  void (*quantize_row)(std::span<const float> elements, std::span<uint8_t> blocks) = nullptr;

  [[nodiscard]] size_t RowBytes(size_t elements) const {
    return elements / block_elements * block_bytes;
  }
};

// One constant a format: kF32Format, kQ8_0Format, ... defined in the format's own file.
#define CHOIR_WEIGHT_FORMAT(Name) extern const WeightFormat k##Name##Format;
#include "engine/quant/formats.def"
#undef CHOIR_WEIGHT_FORMAT

// All of them, in the order of formats.def.
std::span<const WeightFormat* const> AllWeightFormats();

// Null if this build has no such format.
const WeightFormat* FindWeightFormat(uint32_t type_id);
const WeightFormat* FindWeightFormat(std::string_view name);

// UNIMPLEMENTED, naming the type and those that there are.
absl::StatusOr<const WeightFormat*> GetWeightFormat(uint32_t type_id);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_QUANT_WEIGHT_FORMAT_H_
