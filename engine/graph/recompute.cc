#include "engine/graph/recompute.h"

#include <algorithm>

#include "base/check.h"

namespace choir::engine {
namespace {

// An output at most a quarter as wide as its node's widest is kept: u at rank 8 under 768 columns
// is a hundredth, and even rank 16 under 64 columns saves four times its size.
constexpr int64_t kNarrowFactor = 4;

int64_t WidestOutput(const Graph& graph, const Node& node) {
  int64_t widest = 0;
  for (const TensorId output : node.outputs) {
    widest = std::max(widest, graph.tensor(output).desc.shape.cols);
  }
  return widest;
}

}  // namespace

Recompute::Recompute(Graph& graph, int64_t num_blocks)
    : graph_(graph),
      forward_(graph.nodes().begin(), graph.nodes().end()),
      producer_(graph.tensors().size(), -1),
      kept_(graph.tensors().size(), true) {
  for (size_t i = 0; i < forward_.size(); ++i) {
    for (const TensorId output : forward_[i].outputs) {
      producer_[static_cast<size_t>(output)] = static_cast<int>(i);
    }
  }
  FindKept(num_blocks);
}

void Recompute::FindKept(int64_t num_blocks) {
  int last_block = -1;
  for (const Node& node : forward_) last_block = std::max(last_block, node.block);
  for (const Node& node : forward_) {
    // A node that changes persistent state must not run twice.
    if (node.block < 0 || node.block == last_block || !node.updates.empty()) continue;
    if (node.block >= num_blocks) continue;
    const int64_t widest = WidestOutput(graph_, node);
    for (const TensorId output : node.outputs) {
      const Tensor& tensor = graph_.tensor(output);
      const bool narrow = tensor.desc.shape.cols * kNarrowFactor <= widest;
      kept_[static_cast<size_t>(output)] = tensor.is_output || narrow;
    }
  }
  for (const Node& node : forward_) {
    for (const TensorId input : node.inputs) {
      const int producer = producer_[static_cast<size_t>(input)];
      if (producer < 0) continue;
      if (forward_[static_cast<size_t>(producer)].block == node.block) continue;
      kept_[static_cast<size_t>(input)] = true;
    }
  }
}

TensorId Recompute::Available(TensorId id) {
  // Tensors younger than this object are gradients and twins: always there.
  if (static_cast<size_t>(id) >= kept_.size() || kept_[static_cast<size_t>(id)]) return id;
  const auto twin = twins_.find(id);
  if (twin != twins_.end()) return twin->second;
  const Node& node = forward_[static_cast<size_t>(producer_[static_cast<size_t>(id)])];
  std::vector<TensorId> inputs;
  for (const TensorId input : node.inputs) inputs.push_back(Available(input));
  const absl::StatusOr<std::vector<TensorId>> outputs =
      graph_.AddNode(node.op->name, std::move(inputs), node.attrs);
  CHOIR_CHECK(outputs.ok());  // the same call was accepted once
  for (size_t i = 0; i < outputs->size(); ++i) twins_[node.outputs[i]] = (*outputs)[i];
  return twins_.at(id);
}

}  // namespace choir::engine
