#ifndef CHOIR_ENGINE_GRAPH_GRAPH_H_
#define CHOIR_ENGINE_GRAPH_GRAPH_H_

// A static program over matrices: nodes in execution order, each one call of an op. Built once for
// a shape, planned, compiled by a backend, and replayed.

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

#include "engine/ops/attrs.h"
#include "engine/ops/ops.h"
#include "engine/ops/tensor_desc.h"

namespace choir::engine {

using TensorId = int32_t;

enum class TensorKind : uint8_t {
  kInput,         // written by the host before each run
  kPersistent,    // bound to a DeviceBuffer when compiled: weights, adapter factors, gradients,
                  // caches
  kIntermediate,  // placed in the arena by the planner
};

struct Tensor {
  std::string name;
  TensorDesc desc;
  TensorKind kind = TensorKind::kIntermediate;
  bool is_output = false;  // readable by the host after a run; never overwritten during it
};

struct Node {
  const OpSchema* op = nullptr;
  Attrs attrs;
  std::vector<TensorId> inputs;
  std::vector<TensorId> outputs;
  std::vector<TensorId> updates;  // persistent tensors that the op reads and writes
  int block = -1;                 // transformer block, for checkpointing; -1 outside
};

class Graph {
 public:
  // Names of inputs and persistent tensors are unique.
  TensorId AddInput(std::string name, TensorDesc desc);
  TensorId AddPersistent(std::string name, TensorDesc desc);
  // Runs the op's shape rule and appends the node. INVALID_ARGUMENT names op, node and shapes.
  absl::StatusOr<std::vector<TensorId>> AddNode(std::string_view op, std::vector<TensorId> inputs,
                                                Attrs attrs = {},
                                                std::vector<TensorId> updates = {});
  // order[i]: which of the nodes comes i-th. Each node once, and none before a tensor that it
  // reads.
  void Reorder(std::span<const size_t> order);
  // Of an intermediate.
  void MarkOutput(TensorId id);
  // Nodes appended from now on belong to this block.
  void SetBlock(int block) { block_ = block; }

  [[nodiscard]] const Tensor& tensor(TensorId id) const;
  [[nodiscard]] std::span<const Tensor> tensors() const { return tensors_; }
  [[nodiscard]] std::span<const Node> nodes() const { return nodes_; }
  // The input or persistent tensor of this name. NOT_FOUND.
  [[nodiscard]] absl::StatusOr<TensorId> Find(std::string_view name) const;

 private:
  TensorId AddNamed(std::string name, TensorDesc desc, TensorKind kind);

  std::vector<Tensor> tensors_;
  std::vector<Node> nodes_;
  std::map<std::string, TensorId, std::less<>> names_;
  int block_ = -1;
};

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_GRAPH_GRAPH_H_
