#ifndef CHOIR_ENGINE_GRAPH_RECOMPUTE_H_
#define CHOIR_ENGINE_GRAPH_RECOMPUTE_H_

// Which forward tensors a backward pass may keep alive, and twins of the others, computed anew at
// the moment they are asked for. Nodes are appended one by one as backward nodes need them, so
// nothing is recomputed for nothing, and the planner may reuse a tensor's memory as soon as the
// forward pass has done with it. Two ways to need less memory go together:
//   blocks, from the first, that are computed again as a whole from their input (gradient
//   checkpointing, Chen et al. 2016);
//   of every block only some tensors, perhaps packed (KeptActivations).
// How many blocks are recomputed changes no bit of the result.
//
// Kept as they are, always: tensors outside blocks, and outputs much narrower than their node's
// widest (the r columns of u, a norm's rstd): cheap to keep, as dear to
// compute as the whole node.

#include <cstdint>
#include <map>
#include <vector>

#include "engine/graph/graph.h"
#include "engine/graph/kept_activations.h"

namespace choir::engine {

class Recomputation {
 public:
  // Looks at the nodes that `graph` has now; `graph` outlives this. The first `num_blocks` blocks
  // are recomputed, but the last one (its backward pass comes at once).
  Recomputation(Graph& graph, int64_t num_blocks, KeptActivations kept);

  // The tensor that backward nodes use for this forward tensor: itself, or its twin, whose nodes
  // are appended to the graph if they are not there yet.
  TensorId Available(TensorId id);

 private:
  // How backward nodes get a tensor.
  enum class Source : uint8_t {
    kExact,     // as the forward pass computed it
    kStored,    // the same, or packed and unpacked
    kRepeated,  // its op runs again, on what is available
  };
  using Twins = std::map<TensorId, TensorId>;

  void FindProducers();
  void FindSources(int64_t num_blocks);
  [[nodiscard]] Source SourceOf(const Node& node, bool narrow, bool recomputed) const;
  void FindWhatLeavesItsBlock();
  // All readers are content with 8 bits.
  [[nodiscard]] bool IsCoarse(TensorId id) const;

  // The value of the forward pass itself: kept, or computed again from the block's input.
  TensorId Exact(TensorId id);
  TensorId Packed(TensorId id);
  // Appends the node that gives `id` once more.
  TensorId Repeat(TensorId id, TensorId (Recomputation::*input)(TensorId), Twins& twins);

  Graph& graph_;
  const KeptActivations kept_;
  std::vector<Node> forward_;
  std::vector<int> producer_;    // node that gives a tensor; -1: none
  std::vector<bool> stays_;      // the forward pass's own tensor may be kept alive
  std::vector<Source> sources_;  // by tensor, as stays_
  Twins exact_twins_;
  Twins packed_twins_;
  Twins repeated_twins_;
};

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_GRAPH_RECOMPUTE_H_
