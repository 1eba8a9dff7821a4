#ifndef CHOIR_BENCH_OP_WORK_H_
#define CHOIR_BENCH_OP_WORK_H_

// How much the nodes of a graph do, counted from their shapes, and where their time went.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/backend/backend.h"
#include "engine/graph/graph.h"

namespace choir::bench {

struct Work {
  double flops = 0;         // of matrix products; attention: the causal half
  double bytes = 0;         // of tensors read and written, each once a node
  double weight_bytes = 0;  // of these, frozen weights
};
Work WorkOf(const engine::Graph& graph, const engine::Node& node);
Work WorkOf(const engine::Graph& graph);

// All nodes of one op.
struct OpProfile {
  std::string op;
  int64_t calls = 0;
  double seconds = 0;
  Work work;
};

// Sums up runs of one program.
class Profiler {
 public:
  // The graph outlives the profiler.
  explicit Profiler(const engine::Graph& graph) : graph_(&graph) {}
  // After a run. Nothing happens where the backend does not measure.
  void Add(const engine::Executable& executable);
  // The mean of the runs so far, most time first; empty if nothing was measured.
  [[nodiscard]] std::vector<OpProfile> ByOp() const;
  // The last run as events of Chrome's trace viewer, one a node: a JSON document.
  [[nodiscard]] std::string ChromeTrace() const;

 private:
  const engine::Graph* graph_;
  std::vector<double> seconds_;  // by node
  std::vector<engine::NodeTime> last_;
  int64_t runs_ = 0;
};

}  // namespace choir::bench

#endif  // CHOIR_BENCH_OP_WORK_H_
