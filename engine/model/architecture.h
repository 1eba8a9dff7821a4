#ifndef CHOIR_ENGINE_MODEL_ARCHITECTURE_H_
#define CHOIR_ENGINE_MODEL_ARCHITECTURE_H_

// One family of models. A new one is one file that defines an Architecture, and one line in
// architectures.def.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "engine/gguf/gguf_file.h"
#include "engine/graph/graph.h"
#include "engine/model/model_spec.h"

namespace choir::engine {

class ForwardBuilder;

// A tensor that the network reads: a matrix in any format, a vector in F32, or one number in F32
// that files may leave out.
struct NeededTensor {
  std::string name;
  int64_t rows = 0;
  int64_t cols = 0;
  bool is_vector = false;
  bool is_optional_factor = false;

  static NeededTensor Matrix(std::string name, int64_t rows, int64_t cols) {
    return {std::move(name), rows, cols, false};
  }
  static NeededTensor Vector(std::string name, int64_t cols) {
    return {std::move(name), 1, cols, true};
  }
  static NeededTensor OptionalFactor(std::string name) {
    return {std::move(name), 1, 1, true, true};
  }
};

struct Architecture {
  std::string_view name;  // general.architecture

  // What the common keys do not say: fields of `spec` that this family sets (`spec` comes with all
  // common hyperparameters read).
  absl::Status (*complete_spec)(const GgufFile& file, ModelSpec& spec);
  // All tensors of one layer, with their shapes. ForwardBuilder::Linear applies a projection's
  // ".bias" and ".scale" by itself where they are listed here and the file has them.
  std::vector<NeededTensor> (*layer_tensors)(const ModelSpec& spec, int64_t layer);
  // h (T,C) before the layer -> h (T,C) after it.
  absl::StatusOr<TensorId> (*forward_layer)(ForwardBuilder& builder, int64_t layer, TensorId h);
};

std::span<const Architecture* const> AllArchitectures();
// UNIMPLEMENTED, listing those that there are.
absl::StatusOr<const Architecture*> FindArchitecture(std::string_view name);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_MODEL_ARCHITECTURE_H_
