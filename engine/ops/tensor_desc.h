#ifndef CHOIR_ENGINE_OPS_TENSOR_DESC_H_
#define CHOIR_ENGINE_OPS_TENSOR_DESC_H_

#include <cstdint>
#include <string>

namespace choir::engine {

struct WeightFormat;  // engine/quant: layout of one block format

// Every tensor is a row-major matrix: rows x cols. A vector is one row; heads lie side by side in
// the columns ((T, H*D)), and the op's attribute head_size says where one ends.
struct Shape {
  int64_t rows = 1;
  int64_t cols = 1;

  friend bool operator==(const Shape&, const Shape&) = default;
  [[nodiscard]] int64_t NumElements() const { return rows * cols; }
};

enum class DType : uint8_t {
  kF32,     // activations, adapter factors, gradients, optimizer state
  kI32,     // token ids, positions, segment ids, row numbers
  kWeight,  // rows of blocks; `format` says how. A frozen weight as it stands in the model file,
            // or one that ops write: a KV cache, a packed activation
};

struct TensorDesc {
  DType dtype = DType::kF32;
  Shape shape;
  const WeightFormat* format = nullptr;  // kWeight only; static lifetime

  friend bool operator==(const TensorDesc&, const TensorDesc&) = default;
};

// Bytes that the tensor takes: 4 an element, or whole blocks of `format` row by row.
int64_t SizeBytes(const TensorDesc& desc);

// "f32 17x64", "Q8_0 512x64": for messages.
std::string ToString(const TensorDesc& desc);

inline TensorDesc F32(int64_t rows, int64_t cols) {
  return {DType::kF32, {rows, cols}, nullptr};
}
inline TensorDesc I32(int64_t rows, int64_t cols) {
  return {DType::kI32, {rows, cols}, nullptr};
}
inline TensorDesc Weight(const WeightFormat* format, int64_t rows, int64_t cols) {
  return {DType::kWeight, {rows, cols}, format};
}

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_OPS_TENSOR_DESC_H_
