#ifndef CHOIR_ENGINE_OPS_CALL_CHECK_H_
#define CHOIR_ENGINE_OPS_CALL_CHECK_H_

// What an op's shape rule demands of a call. Demands are made one after another; the first broken
// one is kept and worded with the op's name and all shapes of the call, and later ones are moot.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "engine/ops/attrs.h"
#include "engine/ops/tensor_desc.h"

namespace choir::engine {

// Any extent will do.
inline constexpr int64_t kAnyExtent = -1;

class CallCheck {
 public:
  // Extents and element counts beyond these are refused, so that products never overflow.
  static constexpr int64_t kMaxExtent = (int64_t{1} << 31) - 1;
  static constexpr int64_t kMaxElements = int64_t{1} << 40;

  CallCheck(std::string_view op, std::span<const TensorDesc> inputs,
            std::span<const TensorDesc> updates, const Attrs& attrs)
      : op_(op), inputs_(inputs), updates_(updates), attrs_(attrs) {}

  // First of all demands: how many tensors, and that their extents are sane.
  void Counts(size_t num_inputs, size_t num_updates);

  void IsF32(size_t input, std::string_view name, int64_t rows, int64_t cols);
  void IsI32(size_t input, std::string_view name, int64_t rows, int64_t cols);
  // A weight in any format whose blocks fit the row.
  void IsWeight(size_t input, std::string_view name, int64_t rows, int64_t cols);
  // A weight in format F32: norms and other vectors, which no model file quantises.
  void IsF32Weight(size_t input, std::string_view name, int64_t rows, int64_t cols);
  void UpdateIsF32(size_t update, std::string_view name, int64_t rows, int64_t cols);
  // A KV cache: f32, or in one of the formats that caches have (F16, Q8_0).
  void IsCache(size_t input, std::string_view name, int64_t rows, int64_t cols);
  void UpdateIsCache(size_t update, std::string_view name, int64_t rows, int64_t cols);

  // The attribute's value, which must be there and in range (and whole, for Int); `min` if it is
  // not.
  int64_t Int(std::string_view name, int64_t min, int64_t max);
  double Float(std::string_view name, double min, double max);

  void Require(bool condition, std::string_view demand);

  // Extents; 1 where there is no such tensor.
  [[nodiscard]] int64_t rows(size_t input) const;
  [[nodiscard]] int64_t cols(size_t input) const;
  [[nodiscard]] Shape update_shape(size_t update) const;
  [[nodiscard]] bool ok() const { return error_.empty(); }

  // The result of the shape rule: `outputs`, or INVALID_ARGUMENT if a demand was broken.
  [[nodiscard]] absl::StatusOr<std::vector<TensorDesc>> Outputs(
      std::vector<TensorDesc> outputs) const;

 private:
  void Matches(std::span<const TensorDesc> tensors, size_t index, std::string_view name,
               DType dtype, int64_t rows, int64_t cols);
  void CacheMatches(std::span<const TensorDesc> tensors, size_t index, std::string_view name,
                    int64_t rows, int64_t cols);

  std::string_view op_;
  std::span<const TensorDesc> inputs_;
  std::span<const TensorDesc> updates_;
  const Attrs& attrs_;
  std::string error_;
};

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_OPS_CALL_CHECK_H_
