#include "engine/graph/pack_placement.h"

#include <cstddef>
#include <string_view>
#include <vector>

namespace choir::engine {

void PlacePacks(Graph& graph) {
  const std::span<const Node> nodes = graph.nodes();
  constexpr size_t kNone = ~size_t{0};
  std::vector<size_t> last_use(graph.tensors().size(), kNone);  // so far
  std::vector<std::vector<size_t>> packs_after(nodes.size());
  std::vector<bool> moves(nodes.size(), false);
  for (size_t i = 0; i < nodes.size(); ++i) {
    const Node& node = nodes[i];
    if (node.op->name == std::string_view("pack")) {
      const size_t place = last_use[static_cast<size_t>(node.inputs[0])];
      moves[i] = place != kNone;
      if (moves[i]) packs_after[place].push_back(i);
      continue;
    }
    for (const std::vector<TensorId>* ids : {&node.inputs, &node.outputs}) {
      for (const TensorId id : *ids) last_use[static_cast<size_t>(id)] = i;
    }
  }
  std::vector<size_t> order;
  order.reserve(nodes.size());
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (moves[i]) continue;
    order.push_back(i);
    order.insert(order.end(), packs_after[i].begin(), packs_after[i].end());
  }
  graph.Reorder(order);
}

}  // namespace choir::engine
