#ifndef CHOIR_ENGINE_GRAPH_RECOMPUTE_H_
#define CHOIR_ENGINE_GRAPH_RECOMPUTE_H_

// Gradient checkpointing (Chen et al. 2016): which forward tensors a backward pass may keep alive,
// and twins of the others, computed anew from the block's saved input at the moment they are asked
// for. Clones are appended one by one as backward nodes need them, so nothing is recomputed for
// nothing, and the planner may reuse the first copy's memory as soon as the block is left.
//
// Kept are: tensors outside blocks and in the last one (its backward pass comes at once), what
// leaves its block (the next one's input), and outputs much narrower than their node's widest (the
// r columns of u, a norm's rstd): cheap to keep, as dear to compute as the whole node.

#include <map>
#include <vector>

#include "engine/graph/graph.h"

namespace choir::engine {

class Recompute {
 public:
  // Looks at the nodes that `graph` has now; `graph` outlives this. Blocks from `num_blocks` on
  // keep all.
  Recompute(Graph& graph, int64_t num_blocks);

  // The tensor that backward nodes use for this forward tensor: itself, or its twin, whose nodes
  // are appended to the graph if they are not there yet.
  TensorId Available(TensorId id);

 private:
  void FindKept(int64_t num_blocks);

  Graph& graph_;
  std::vector<Node> forward_;
  std::vector<int> producer_;  // node that gives a tensor; -1: none
  std::vector<bool> kept_;
  std::map<TensorId, TensorId> twins_;
};

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_GRAPH_RECOMPUTE_H_
