#include "engine/graph/memory_plan.h"

#include <algorithm>
#include <limits>

#include "base/check.h"

namespace choir::engine {
namespace {

// A tensor's life in node numbers, both ends included, and its place.
struct Lifetime {
  TensorId id = 0;
  int64_t size = 0;
  int64_t first = -1;
  int64_t last = -1;
  int64_t offset = 0;

  [[nodiscard]] bool Overlaps(const Lifetime& other) const {
    return first <= other.last && other.first <= last;
  }
};

int64_t AlignUp(int64_t value, int64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

std::vector<Lifetime> FindLifetimes(const Graph& graph, int64_t alignment) {
  const std::span<const Node> nodes = graph.nodes();
  const auto end = static_cast<int64_t>(nodes.size());
  std::vector<Lifetime> all(graph.tensors().size());
  for (size_t id = 0; id < all.size(); ++id) {
    const Tensor& tensor = graph.tensors()[id];
    all[id].id = static_cast<TensorId>(id);
    all[id].size = AlignUp(SizeBytes(tensor.desc), alignment);
    if (tensor.kind == TensorKind::kInput) all[id] = {all[id].id, all[id].size, 0, end, 0};
  }
  for (int64_t i = 0; i < end; ++i) {
    const Node& node = nodes[static_cast<size_t>(i)];
    for (const TensorId output : node.outputs) {
      Lifetime& life = all[static_cast<size_t>(output)];
      life.first = i;
      life.last = graph.tensor(output).is_output ? end : i;
    }
    for (const TensorId input : node.inputs) {
      Lifetime& life = all[static_cast<size_t>(input)];
      life.last = std::max(life.last, i);
    }
  }
  std::erase_if(all, [&graph](const Lifetime& life) {
    return graph.tensor(life.id).kind == TensorKind::kPersistent;
  });
  return all;
}

// The smallest gap between placed tensors of the same time that is large enough, else the end.
int64_t BestFit(const std::vector<Lifetime>& placed_by_offset, const Lifetime& wanted) {
  int64_t best_offset = -1;
  int64_t best_gap = std::numeric_limits<int64_t>::max();
  int64_t free_from = 0;
  for (const Lifetime& other : placed_by_offset) {
    if (!other.Overlaps(wanted)) continue;
    const int64_t gap = other.offset - free_from;
    if (gap >= wanted.size && gap < best_gap) {
      best_gap = gap;
      best_offset = free_from;
    }
    free_from = std::max(free_from, other.offset + other.size);
  }
  return best_offset >= 0 ? best_offset : free_from;
}

}  // namespace

// Largest first, each into the tightest gap (Pisarchyk and Lee 2020, greedy by size).
MemoryPlan PlanMemory(const Graph& graph, int64_t alignment) {
  CHOIR_CHECK(alignment > 0 && (alignment & (alignment - 1)) == 0);
  std::vector<Lifetime> lifetimes = FindLifetimes(graph, alignment);
  std::stable_sort(lifetimes.begin(), lifetimes.end(),
                   [](const Lifetime& a, const Lifetime& b) { return a.size > b.size; });
  MemoryPlan plan;
  plan.offsets.assign(graph.tensors().size(), -1);
  std::vector<Lifetime> placed;
  for (Lifetime& life : lifetimes) {
    life.offset = BestFit(placed, life);
    plan.offsets[static_cast<size_t>(life.id)] = life.offset;
    plan.arena_bytes = std::max(plan.arena_bytes, life.offset + life.size);
    const auto place =
        std::upper_bound(placed.begin(), placed.end(), life,
                         [](const Lifetime& a, const Lifetime& b) { return a.offset < b.offset; });
    placed.insert(place, life);
  }
  return plan;
}

}  // namespace choir::engine
