#ifndef CHOIR_ENGINE_OPS_OPS_H_
#define CHOIR_ENGINE_OPS_OPS_H_

// The ops that a graph is made of: what each takes, gives and means. An op has one file here
// (schema, shape rule, gradient rule, example cases and a slow, readable reference in double
// precision, the oracle of every backend's kernel), one kernel in each backend, and one line in
// ops.def.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

#include "engine/ops/attrs.h"
#include "engine/ops/tensor_desc.h"

namespace choir::engine {

class GradientContext;  // engine/graph/autodiff.h

// A tensor of the reference: f32 and weights as doubles (dequantised), i32 as integers.
struct RefTensor {
  Shape shape;
  std::vector<double> values;  // kF32, kWeight
  std::vector<int32_t> ints;   // kI32

  [[nodiscard]] double at(int64_t row, int64_t col) const {
    return values[static_cast<size_t>(row * shape.cols + col)];
  }
  double& at(int64_t row, int64_t col) {
    return values[static_cast<size_t>(row * shape.cols + col)];
  }
};

// One call of a reference. Outputs come sized by the shape rule and zero-filled.
struct RefCall {
  const Attrs& attrs;
  std::span<const RefTensor> inputs;
  std::span<RefTensor> outputs;
  std::span<RefTensor> updates;  // read and written
};

// One case of the conformance test: descriptions of inputs and updates, and attributes. Integer
// inputs are given whole; real values are drawn from a seed.
struct OpExample {
  std::string name;
  std::vector<TensorDesc> inputs;
  std::vector<TensorDesc> updates;
  Attrs attrs;
  std::vector<std::vector<int32_t>> ints;  // one entry for each kI32 input, in order
  // Moves drawn values into the op's domain (adamw's v is never negative); null: none needed.
  void (*adjust)(std::span<RefTensor> inputs, std::span<RefTensor> updates,
                 const Attrs& attrs) = nullptr;
};

struct OpSchema {
  std::string_view name;  // snake_case of the name in ops.def
  // Checks counts, types, shapes and attributes; gives the outputs' descriptions. INVALID_ARGUMENT.
  absl::StatusOr<std::vector<TensorDesc>> (*infer)(std::span<const TensorDesc> inputs,
                                                   std::span<const TensorDesc> updates,
                                                   const Attrs& attrs);
  void (*reference)(const RefCall& call);
  // Appends the nodes that carry gradients from the outputs to the inputs; null: no gradient flows.
  absl::Status (*gradient)(GradientContext& context);
  std::vector<OpExample> (*examples)();
  // As dear as reading and writing its tensors: a backward pass may run it again rather than keep
  // its outputs (engine/graph/recompute.h).
  bool cheap_to_repeat = false;
  // Its gradient can do with inputs of 8 bits: docs/decisions/0028-packed-activations.md.
  bool coarse_inputs = false;
  // Its gradient takes its outputs for those of the very inputs that it reads beside them: where
  // these are rounded, it must run again on them.
  bool outputs_match_inputs = false;
};

// Every op, in table order; a backend's kernel table has the same order.
std::span<const OpSchema* const> AllOps();
absl::StatusOr<const OpSchema*> FindOp(std::string_view name);
// Position of the op in AllOps().
size_t OpIndex(const OpSchema& op);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_OPS_OPS_H_
