#include "engine/graph/autodiff.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/check.h"
#include "base/status_macros.h"
#include "engine/graph/pack_placement.h"
#include "engine/graph/recompute.h"

namespace choir::engine {
namespace {

// State of one pass over the forward nodes, last to first.
class BackwardPass {
 public:
  BackwardPass(Graph& graph, const std::map<TensorId, TensorId>& seeds,
               const std::map<TensorId, TensorId>& parameter_gradients,
               const BackwardOptions& options)
      : graph_(graph),
        forward_(graph.nodes().begin(), graph.nodes().end()),
        parameter_gradients_(parameter_gradients),
        gradients_(seeds),
        recomputation_(graph, options.recomputed_blocks, options.kept) {
    FindWanted(options.wanted);
  }

  absl::Status Run() {
    graph_.SetBlock(-1);
    for (size_t i = forward_.size(); i-- > 0;) {
      CHOIR_RETURN_IF_ERROR(Visit(forward_[i]));
    }
    return absl::OkStatus();
  }

  [[nodiscard]] bool Wants(TensorId id) const { return wants_[static_cast<size_t>(id)]; }
  [[nodiscard]] std::optional<TensorId> GradientOf(TensorId id) const {
    return Lookup(gradients_, id);
  }
  [[nodiscard]] std::optional<TensorId> ParameterGradientOf(TensorId id) const {
    return Lookup(parameter_gradients_, id);
  }
  void SetGradient(TensorId id, TensorId gradient) {
    CHOIR_CHECK(graph_.tensor(id).desc == graph_.tensor(gradient).desc);
    gradients_[id] = gradient;
  }
  Graph& graph() { return graph_; }
  Recomputation& recomputation() { return recomputation_; }

 private:
  static std::optional<TensorId> Lookup(const std::map<TensorId, TensorId>& map, TensorId id) {
    const auto found = map.find(id);
    if (found == map.end()) return std::nullopt;
    return found->second;
  }

  // A tensor is wanted if the caller says so, or if something trained or wanted flows into it.
  void FindWanted(const std::vector<TensorId>& wanted) {
    wants_.resize(graph_.tensors().size());
    for (const TensorId id : wanted) wants_[static_cast<size_t>(id)] = true;
    for (const Node& node : forward_) {
      if (!Matters(node)) continue;
      for (const TensorId output : node.outputs) wants_[static_cast<size_t>(output)] = true;
    }
  }

  // Does any input of the node lead to something that wants its gradient?
  [[nodiscard]] bool Matters(const Node& node) const {
    return std::any_of(node.inputs.begin(), node.inputs.end(), [this](TensorId input) {
      return Wants(input) || parameter_gradients_.contains(input);
    });
  }

  absl::Status Visit(const Node& node);

  Graph& graph_;
  const std::vector<Node> forward_;  // a copy: the graph grows meanwhile
  const std::map<TensorId, TensorId>& parameter_gradients_;
  std::map<TensorId, TensorId> gradients_;
  std::vector<bool> wants_;
  Recomputation recomputation_;
};

// One node, as its op's rule sees it.
class NodeContext final : public GradientContext {
 public:
  NodeContext(BackwardPass& pass, const Node& node) : pass_(pass), node_(node) {}

  [[nodiscard]] const Node& node() const override { return node_; }
  [[nodiscard]] TensorId Input(size_t i) const override {
    return pass_.recomputation().Available(node_.inputs.at(i));
  }
  [[nodiscard]] TensorId Output(size_t i) const override {
    return pass_.recomputation().Available(node_.outputs.at(i));
  }
  [[nodiscard]] bool Wants(size_t input) const override {
    return pass_.Wants(node_.inputs.at(input));
  }
  [[nodiscard]] std::optional<TensorId> OutputGradient(size_t output) const override {
    return pass_.GradientOf(node_.outputs.at(output));
  }
  [[nodiscard]] std::optional<TensorId> AccumulatedInputGradient(size_t input) const override {
    return pass_.GradientOf(node_.inputs.at(input));
  }
  [[nodiscard]] std::optional<TensorId> ParameterGradient(size_t input) const override {
    return pass_.ParameterGradientOf(node_.inputs.at(input));
  }

  absl::Status AddInputGradient(size_t input, TensorId gradient) override {
    const std::optional<TensorId> sum = AccumulatedInputGradient(input);
    if (!sum.has_value()) return SetInputGradient(input, gradient);
    CHOIR_ASSIGN_OR_RETURN(const std::vector<TensorId> added, AddNode("add", {*sum, gradient}, {}));
    return SetInputGradient(input, added[0]);
  }
  absl::Status SetInputGradient(size_t input, TensorId gradient) override {
    pass_.SetGradient(node_.inputs.at(input), gradient);
    return absl::OkStatus();
  }
  absl::StatusOr<std::vector<TensorId>> AddNode(std::string_view op, std::vector<TensorId> inputs,
                                                Attrs attrs,
                                                std::vector<TensorId> updates = {}) override {
    return pass_.graph().AddNode(op, std::move(inputs), std::move(attrs), std::move(updates));
  }

 private:
  BackwardPass& pass_;
  const Node& node_;
};

absl::Status BackwardPass::Visit(const Node& node) {
  const bool arrived = std::any_of(node.outputs.begin(), node.outputs.end(),
                                   [this](TensorId id) { return gradients_.contains(id); });
  if (!arrived || !Matters(node)) return absl::OkStatus();
  if (node.op->gradient == nullptr) {
    return absl::FailedPreconditionError(
        fmt::format("a gradient flows through {}, which has none", node.op->name));
  }
  NodeContext context(*this, node);
  return node.op->gradient(context);
}

}  // namespace

absl::StatusOr<std::map<TensorId, TensorId>> AppendBackward(
    Graph& graph, const std::map<TensorId, TensorId>& seeds,
    const std::map<TensorId, TensorId>& parameter_gradients, const BackwardOptions& options) {
  for (const auto& pairs : {seeds, parameter_gradients}) {
    for (const auto& [tensor, gradient] : pairs) {
      CHOIR_CHECK(graph.tensor(tensor).desc == graph.tensor(gradient).desc);
    }
  }
  BackwardPass pass(graph, seeds, parameter_gradients, options);
  CHOIR_RETURN_IF_ERROR(pass.Run());
  if (options.kept == KeptActivations::kPackedProducts) PlacePacks(graph);
  std::map<TensorId, TensorId> wanted;
  for (const TensorId id : options.wanted) {
    const std::optional<TensorId> gradient = pass.GradientOf(id);
    if (gradient.has_value()) wanted[id] = *gradient;
  }
  return wanted;
}

}  // namespace choir::engine
