#ifndef CHOIR_ENGINE_GRAPH_OP_EXAMPLES_H_
#define CHOIR_ENGINE_GRAPH_OP_EXAMPLES_H_

// Turns an op's example cases into values and graphs, for tests: the case alone, and the case with
// its backward pass, beside which stand central finite differences of the reference.

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"

#include "engine/graph/graph.h"
#include "engine/graph/reference_run.h"

namespace choir::engine {

struct ExampleValues {
  std::vector<RefTensor> inputs;  // every number is a float; weights as their format stores them
  std::vector<RefTensor> updates;
  // Encoded rows of each input that is a weight; empty for others.
  std::vector<std::vector<uint8_t>> weight_bytes;
};

ExampleValues DrawExampleValues(const OpExample& example, uint64_t seed);

// A graph of one node. Real inputs are graph inputs, or persistent tensors if `persistent` (as
// adapter factors and caches are).
struct ExampleGraph {
  Graph graph;
  std::vector<TensorId> inputs;
  std::vector<TensorId> updates;
  std::vector<TensorId> outputs;  // marked as outputs
};
absl::StatusOr<ExampleGraph> BuildExampleGraph(const OpSchema& op, const OpExample& example,
                                               bool persistent);

// The node and its backward pass, for the loss sum(seed * first output).
struct GradientGraph {
  struct Gradient {
    size_t input = 0;      // differentiated by this input of the op
    TensorId tensor = -1;  // a graph output, a persistent tensor (adapter factors; starts at 0),
                           // or `seed` itself (add)
  };
  Graph graph;
  std::vector<TensorId> inputs;
  TensorId seed = -1;
  std::vector<Gradient> gradients;  // empty: nothing of this case has a gradient
};
absl::StatusOr<GradientGraph> BuildGradientGraph(const OpSchema& op, const OpExample& example);

// d sum(seed * first output) / d inputs[input][element], by central differences.
double FiniteDifference(const OpSchema& op, const OpExample& example, ExampleValues values,
                        const RefTensor& seed, size_t input, size_t element);

// At most `limit` element numbers of a tensor of `count`, spread over it, both ends among them.
std::vector<size_t> SpreadElements(size_t count, size_t limit);

// Standard normal floats.
RefTensor DrawF32(Shape shape, uint64_t seed);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_GRAPH_OP_EXAMPLES_H_
