#ifndef CHOIR_ENGINE_GRAPH_AUTODIFF_H_
#define CHOIR_ENGINE_GRAPH_AUTODIFF_H_

// Reverse-mode differentiation: appends the backward nodes of a forward graph, from each op's own
// rule.

#include <limits>
#include <map>
#include <optional>
#include <vector>

#include "absl/status/status.h"

#include "engine/graph/graph.h"
#include "engine/graph/kept_activations.h"

namespace choir::engine {

// What an op's gradient rule sees and does. Frozen weights and integer tensors never want a
// gradient.
class GradientContext {
 public:
  virtual ~GradientContext() = default;
  [[nodiscard]] virtual const Node& node() const = 0;
  // The tensor to use in backward nodes for the node's i-th input or output (its recomputed twin,
  // where the block is checkpointed).
  [[nodiscard]] virtual TensorId Input(size_t i) const = 0;
  [[nodiscard]] virtual TensorId Output(size_t i) const = 0;
  // Does anything upstream of input i need its gradient?
  [[nodiscard]] virtual bool Wants(size_t input) const = 0;
  // The gradient that arrived at output i, if one did.
  [[nodiscard]] virtual std::optional<TensorId> OutputGradient(size_t output) const = 0;
  // The sum so far of gradients for input i, for ops that can accumulate into it (then call
  // SetInputGradient instead of AddInputGradient).
  [[nodiscard]] virtual std::optional<TensorId> AccumulatedInputGradient(size_t input) const = 0;
  virtual absl::Status AddInputGradient(size_t input, TensorId gradient) = 0;
  virtual absl::Status SetInputGradient(size_t input, TensorId gradient) = 0;
  // The persistent gradient tensor of a trained persistent input (an adapter factor), if it is
  // trained.
  [[nodiscard]] virtual std::optional<TensorId> ParameterGradient(size_t input) const = 0;
  virtual absl::StatusOr<std::vector<TensorId>> AddNode(std::string_view op,
                                                        std::vector<TensorId> inputs, Attrs attrs,
                                                        std::vector<TensorId> updates = {}) = 0;
};

inline constexpr int64_t kAllBlocks = std::numeric_limits<int64_t>::max();

struct BackwardOptions {
  // Blocks, from the first, whose intermediates are computed again from the block's input instead
  // of being kept (Chen et al. 2016). The first, because those of the others are gone by then.
  int64_t recomputed_blocks = 0;
  // Of the blocks' intermediates.
  KeptActivations kept = KeptActivations::kAll;
  // Tensors whose gradients the caller wants to have (for tests; training needs none).
  std::vector<TensorId> wanted;
};

// Appends the backward pass and returns the gradients of `options.wanted` (absent where none
// arrives). `seeds` maps tensors to their known gradients (for example h to the dh
// that lm_head_loss computed). `parameter_gradients` maps each trained persistent tensor to the
// persistent tensor that its gradient is added to. FAILED_PRECONDITION names an op on the way that
// has no gradient.
absl::StatusOr<std::map<TensorId, TensorId>> AppendBackward(
    Graph& graph, const std::map<TensorId, TensorId>& seeds,
    const std::map<TensorId, TensorId>& parameter_gradients, const BackwardOptions& options);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_GRAPH_AUTODIFF_H_
