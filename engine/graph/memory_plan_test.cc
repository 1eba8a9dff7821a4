#include "engine/graph/memory_plan.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "base/random.h"

namespace choir::engine {
namespace {

constexpr int64_t kAlignment = 64;

TensorId One(Graph& graph, std::string_view op, std::vector<TensorId> inputs, Attrs attrs = {}) {
  const auto outputs = graph.AddNode(op, std::move(inputs), std::move(attrs));
  EXPECT_TRUE(outputs.ok()) << outputs.status().ToString();
  return (*outputs)[0];
}

// Is the tensor's content needed while node `i` runs? Written out anew, from the header's words.
bool LivesAt(const Graph& graph, TensorId id, size_t i) {
  const Tensor& tensor = graph.tensor(id);
  if (tensor.kind == TensorKind::kInput) return true;
  bool written = false;
  for (size_t n = 0; n < graph.nodes().size(); ++n) {
    const Node& node = graph.nodes()[n];
    const bool writes = std::count(node.outputs.begin(), node.outputs.end(), id) > 0;
    const bool reads = std::count(node.inputs.begin(), node.inputs.end(), id) > 0;
    written = written || (writes && n <= i);
    if (n == i && writes) return true;
    if (written && n >= i && reads) return true;
  }
  return written && tensor.is_output;
}

void ExpectNoOverlap(const Graph& graph, const MemoryPlan& plan) {
  for (size_t i = 0; i < graph.nodes().size(); ++i) {
    std::vector<std::pair<int64_t, int64_t>> ranges;
    for (size_t id = 0; id < graph.tensors().size(); ++id) {
      const Tensor& tensor = graph.tensors()[id];
      if (tensor.kind == TensorKind::kPersistent) {
        EXPECT_EQ(plan.offsets[id], -1);
        continue;
      }
      EXPECT_EQ(plan.offsets[id] % kAlignment, 0);
      EXPECT_GE(plan.offsets[id], 0);
      EXPECT_LE(plan.offsets[id] + SizeBytes(tensor.desc), plan.arena_bytes);
      if (!LivesAt(graph, static_cast<TensorId>(id), i)) continue;
      ranges.emplace_back(plan.offsets[id], plan.offsets[id] + SizeBytes(tensor.desc));
    }
    std::sort(ranges.begin(), ranges.end());
    for (size_t r = 1; r < ranges.size(); ++r) {
      ASSERT_LE(ranges[r - 1].second, ranges[r].first) << "two tensors at node " << i;
    }
  }
}

// Products and sums of earlier tensors of many widths, some of them outputs.
Graph RandomGraph(uint64_t seed) {
  SeededRng rng(seed);
  Graph graph;
  std::vector<TensorId> made;
  for (int i = 0; i < 3; ++i) {
    made.push_back(graph.AddInput("input" + std::to_string(i),
                                  F32(3, 1 + static_cast<int64_t>(rng.NextBelow(40)))));
  }
  const TensorId rows = graph.AddInput("rows", I32(1, 5));
  for (int i = 0; i < 40; ++i) {
    const TensorId from = made[rng.NextBelow(made.size())];
    const bool gather = rng.NextBelow(3) == 0;
    made.push_back(gather ? One(graph, "gather_rows", {from, rows})
                          : One(graph, "add", {from, from}));
    if (rng.NextBelow(8) == 0) graph.MarkOutput(made.back());
  }
  return graph;
}

TEST(MemoryPlanTest, TensorsThatLiveTogetherNeverOverlap) {
  for (uint64_t seed = 0; seed < 30; ++seed) {
    SCOPED_TRACE(seed);
    const Graph graph = RandomGraph(seed);
    ExpectNoOverlap(graph, PlanMemory(graph, kAlignment));
  }
}

TEST(MemoryPlanTest, ChainTakesTwoPlacesBesideItsInput) {
  Graph graph;
  TensorId x = graph.AddInput("x", F32(4, 16));  // 256 bytes
  for (int i = 0; i < 10; ++i) x = One(graph, "add", {x, x});
  graph.MarkOutput(x);
  EXPECT_EQ(PlanMemory(graph, kAlignment).arena_bytes, 3 * 256);
}

TEST(MemoryPlanTest, OutputsAreNeverReused) {
  Graph graph;
  TensorId x = graph.AddInput("x", F32(4, 16));
  for (int i = 0; i < 10; ++i) {
    x = One(graph, "add", {x, x});
    graph.MarkOutput(x);
  }
  EXPECT_EQ(PlanMemory(graph, kAlignment).arena_bytes, 11 * 256);
}

TEST(MemoryPlanTest, EmptyGraphTakesNothing) {
  EXPECT_EQ(PlanMemory(Graph(), kAlignment).arena_bytes, 0);
}

}  // namespace
}  // namespace choir::engine
