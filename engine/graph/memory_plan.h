#ifndef CHOIR_ENGINE_GRAPH_MEMORY_PLAN_H_
#define CHOIR_ENGINE_GRAPH_MEMORY_PLAN_H_

// Places every intermediate of a graph in one arena by lifetime, so that the peak is known
// beforehand.

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"

#include "engine/graph/graph.h"

namespace choir::engine {

struct MemoryPlan {
  // Byte offset in the arena by tensor id; -1 for what does not live there (persistent tensors) or
  // is never used. Inputs live in the arena for the whole run, outputs from their node to the end.
  std::vector<int64_t> offsets;
  int64_t arena_bytes = 0;
};

// `alignment` in bytes, a power of two. Two tensors that live at the same time never overlap.
MemoryPlan PlanMemory(const Graph& graph, int64_t alignment);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_GRAPH_MEMORY_PLAN_H_
