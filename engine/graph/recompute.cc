#include "engine/graph/recompute.h"

#include <algorithm>

#include "base/check.h"
#include "engine/quant/weight_format.h"

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

Recomputation::Recomputation(Graph& graph, int64_t num_blocks, KeptActivations kept)
    : graph_(graph),
      kept_(kept),
      forward_(graph.nodes().begin(), graph.nodes().end()),
      producer_(graph.tensors().size(), -1),
      stays_(graph.tensors().size(), true),
      sources_(graph.tensors().size(), Source::kExact) {
  FindProducers();
  FindSources(num_blocks);
  FindWhatLeavesItsBlock();
}

void Recomputation::FindProducers() {
  for (size_t i = 0; i < forward_.size(); ++i) {
    for (const TensorId output : forward_[i].outputs) {
      producer_[static_cast<size_t>(output)] = static_cast<int>(i);
    }
  }
}

void Recomputation::FindSources(int64_t num_blocks) {
  int last_block = -1;
  for (const Node& node : forward_) last_block = std::max(last_block, node.block);
  for (const Node& node : forward_) {
    // A node that changes persistent state must not run twice.
    if (node.block < 0 || !node.updates.empty()) continue;
    const bool recomputed = node.block < num_blocks && node.block != last_block;
    const int64_t widest = WidestOutput(graph_, node);
    for (const TensorId output : node.outputs) {
      const Tensor& tensor = graph_.tensor(output);
      if (tensor.is_output) continue;
      const auto id = static_cast<size_t>(output);
      const bool narrow = tensor.desc.shape.cols * kNarrowFactor <= widest;
      if (!narrow) stays_[id] = !recomputed;
      sources_[id] = SourceOf(node, narrow, recomputed);
    }
  }
}

Recomputation::Source Recomputation::SourceOf(const Node& node, bool narrow,
                                              bool recomputed) const {
  if (kept_ == KeptActivations::kPackedProducts) {
    if (node.op->outputs_match_inputs) return Source::kRepeated;
  } else if (kept_ == KeptActivations::kAll || recomputed) {
    // What is computed again anyway is there as it was.
    return Source::kExact;
  }
  if (narrow) return Source::kExact;
  return node.op->cheap_to_repeat ? Source::kRepeated : Source::kStored;
}

void Recomputation::FindWhatLeavesItsBlock() {
  for (const Node& node : forward_) {
    for (const TensorId input : node.inputs) {
      const auto id = static_cast<size_t>(input);
      if (producer_[id] < 0) continue;
      if (forward_[static_cast<size_t>(producer_[id])].block == node.block) continue;
      stays_[id] = true;
      if (sources_[id] == Source::kRepeated) sources_[id] = Source::kStored;
    }
  }
}

bool Recomputation::IsCoarse(TensorId id) const {
  return std::all_of(forward_.begin(), forward_.end(), [id](const Node& node) {
    return node.op->coarse_inputs ||
           std::find(node.inputs.begin(), node.inputs.end(), id) == node.inputs.end();
  });
}

TensorId Recomputation::Available(TensorId id) {
  // Tensors younger than this object are gradients and twins: always there.
  if (static_cast<size_t>(id) >= sources_.size()) return id;
  switch (sources_[static_cast<size_t>(id)]) {
    case Source::kExact:
      return Exact(id);
    case Source::kStored:
      return kept_ == KeptActivations::kPackedProducts ? Packed(id) : Exact(id);
    case Source::kRepeated:
      return Repeat(id, &Recomputation::Available, repeated_twins_);
  }
  return id;
}

TensorId Recomputation::Exact(TensorId id) {
  if (stays_[static_cast<size_t>(id)]) return id;
  return Repeat(id, &Recomputation::Exact, exact_twins_);
}

TensorId Recomputation::Packed(TensorId id) {
  const auto twin = packed_twins_.find(id);
  if (twin != packed_twins_.end()) return twin->second;
  const TensorId exact = Exact(id);
  const int64_t cols = graph_.tensor(id).desc.shape.cols;
  const auto block = static_cast<int64_t>(kQ8_0Format.block_elements);
  const bool coarse = cols % block == 0 && IsCoarse(id);
  const WeightFormat& format = coarse ? kQ8_0Format : kBF16Format;
  const auto packed =
      graph_.AddNode("pack", {exact}, {{"format", static_cast<double>(format.type_id)}});
  CHOIR_CHECK(packed.ok());  // any matrix of f32 can be packed
  const auto unpacked = graph_.AddNode("unpack", {packed->front()});
  CHOIR_CHECK(unpacked.ok());
  return packed_twins_[id] = unpacked->front();
}

TensorId Recomputation::Repeat(TensorId id, TensorId (Recomputation::*input)(TensorId),
                               Twins& twins) {
  const auto twin = twins.find(id);
  if (twin != twins.end()) return twin->second;
  const Node& node = forward_[static_cast<size_t>(producer_[static_cast<size_t>(id)])];
  std::vector<TensorId> inputs;
  for (const TensorId needed : node.inputs) inputs.push_back((this->*input)(needed));
  const absl::StatusOr<std::vector<TensorId>> outputs =
      graph_.AddNode(node.op->name, std::move(inputs), node.attrs);
  CHOIR_CHECK(outputs.ok());  // the same call was accepted once
  for (size_t i = 0; i < outputs->size(); ++i) twins[node.outputs[i]] = (*outputs)[i];
  return twins.at(id);
}

}  // namespace choir::engine
