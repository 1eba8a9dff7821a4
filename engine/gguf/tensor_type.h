#ifndef CHOIR_ENGINE_GGUF_TENSOR_TYPE_H_
#define CHOIR_ENGINE_GGUF_TENSOR_TYPE_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace choir::engine {

// How a tensor type of the GGUF container lays out its elements: every `block_elements` elements of
// a row take `block_bytes` bytes. The container needs no more; what a block means is
// engine/quant's.
struct TensorTypeLayout {
  uint32_t id = 0;
  std::string_view name;
  uint32_t block_elements = 0;
  uint32_t block_bytes = 0;
};

// Type ids that this project writes itself.
inline constexpr uint32_t kTensorF32 = 0;
inline constexpr uint32_t kTensorF16 = 1;

// Null for an id that is not a tensor type, was retired, or is newer than this table.
const TensorTypeLayout* FindTensorTypeLayout(uint32_t id);

// "Q8_0", or "type 77" for an id without a layout.
std::string TensorTypeName(uint32_t id);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_GGUF_TENSOR_TYPE_H_
