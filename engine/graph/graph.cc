#include "engine/graph/graph.h"

#include <fmt/format.h>

#include "base/check.h"
#include "base/status_macros.h"

namespace choir::engine {
namespace {

std::vector<TensorDesc> DescsOf(const std::vector<Tensor>& tensors,
                                const std::vector<TensorId>& ids) {
  std::vector<TensorDesc> descs;
  descs.reserve(ids.size());
  for (const TensorId id : ids) {
    CHOIR_CHECK(id >= 0 && static_cast<size_t>(id) < tensors.size());
    descs.push_back(tensors[static_cast<size_t>(id)].desc);
  }
  return descs;
}

}  // namespace

TensorId Graph::AddNamed(std::string name, TensorDesc desc, TensorKind kind) {
  const auto id = static_cast<TensorId>(tensors_.size());
  CHOIR_CHECK(names_.emplace(name, id).second);
  tensors_.push_back({std::move(name), desc, kind, false});
  return id;
}

TensorId Graph::AddInput(std::string name, TensorDesc desc) {
  return AddNamed(std::move(name), desc, TensorKind::kInput);
}

TensorId Graph::AddPersistent(std::string name, TensorDesc desc) {
  return AddNamed(std::move(name), desc, TensorKind::kPersistent);
}

absl::StatusOr<std::vector<TensorId>> Graph::AddNode(std::string_view op,
                                                     std::vector<TensorId> inputs, Attrs attrs,
                                                     std::vector<TensorId> updates) {
  CHOIR_ASSIGN_OR_RETURN(const OpSchema* schema, FindOp(op));
  for (const TensorId id : updates) {
    CHOIR_CHECK(tensor(id).kind == TensorKind::kPersistent);
  }
  absl::StatusOr<std::vector<TensorDesc>> descs =
      schema->infer(DescsOf(tensors_, inputs), DescsOf(tensors_, updates), attrs);
  if (!descs.ok()) {
    return absl::Status(descs.status().code(), fmt::format("node {}: {}", nodes_.size(),
                                                           std::string(descs.status().message())));
  }
  std::vector<TensorId> outputs;
  for (const TensorDesc& desc : *descs) {
    outputs.push_back(static_cast<TensorId>(tensors_.size()));
    tensors_.push_back({fmt::format("{}.{}.{}", op, nodes_.size(), outputs.size() - 1), desc,
                        TensorKind::kIntermediate, false});
  }
  nodes_.push_back(
      {schema, std::move(attrs), std::move(inputs), outputs, std::move(updates), block_});
  return outputs;
}

void Graph::Reorder(std::span<const size_t> order) {
  CHOIR_CHECK(order.size() == nodes_.size());
  std::vector<bool> there(tensors_.size());
  for (size_t id = 0; id < tensors_.size(); ++id) {
    there[id] = tensors_[id].kind != TensorKind::kIntermediate;
  }
  std::vector<bool> taken(nodes_.size(), false);
  std::vector<Node> nodes;
  for (const size_t i : order) {
    CHOIR_CHECK(i < nodes_.size() && !taken[i]);
    taken[i] = true;
    for (const TensorId input : nodes_[i].inputs) {
      CHOIR_CHECK(there[static_cast<size_t>(input)]);
    }
    for (const TensorId output : nodes_[i].outputs) there[static_cast<size_t>(output)] = true;
    nodes.push_back(std::move(nodes_[i]));
  }
  nodes_ = std::move(nodes);
}

void Graph::MarkOutput(TensorId id) {
  CHOIR_CHECK(tensor(id).kind == TensorKind::kIntermediate);
  tensors_[static_cast<size_t>(id)].is_output = true;
}

const Tensor& Graph::tensor(TensorId id) const {
  CHOIR_CHECK(id >= 0 && static_cast<size_t>(id) < tensors_.size());
  return tensors_[static_cast<size_t>(id)];
}

absl::StatusOr<TensorId> Graph::Find(std::string_view name) const {
  const auto found = names_.find(name);
  if (found == names_.end()) {
    return absl::NotFoundError(fmt::format("the graph has no input or persistent {}", name));
  }
  return found->second;
}

}  // namespace choir::engine
