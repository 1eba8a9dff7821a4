#include "engine/model/model_plan.h"

#include <algorithm>
#include <map>
#include <set>
#include <string_view>

#include "base/status_macros.h"
#include "engine/graph/memory_plan.h"
#include "engine/model/inference_graph.h"
#include "engine/model/optimizer_graph.h"

namespace choir::engine {
namespace {

// What both backends align tensors to: a cache line, and the strictest storage-buffer offset that
// common GPUs ask for.
constexpr int64_t kAlignment = 64;

uint64_t ArenaBytes(const Graph& graph) {
  return static_cast<uint64_t>(PlanMemory(graph, kAlignment).arena_bytes);
}

uint64_t WeightBytes(const Model& model) {
  uint64_t bytes = 0;
  for (const GgufTensor& tensor : model.file().tensors()) bytes += tensor.bytes.size();
  return bytes;
}

// Of a table that does not stay: the part at work and the one before it, or what some lookups
// brought (engine/backend/cpu/weight_chunks.h).
constexpr uint64_t kPassingBytes = uint64_t{8} << 20;

// Weights that a run of this graph has in memory where it reads them in place. Tables that do not
// stay pass one at a time.
uint64_t TouchedBytes(const Graph& graph, const std::set<std::string_view>& passing) {
  std::map<TensorId, uint64_t> staying;
  uint64_t most_passing = 0;
  for (const Node& node : graph.nodes()) {
    for (const TensorId input : node.inputs) {
      const Tensor& tensor = graph.tensor(input);
      if (tensor.desc.dtype != DType::kWeight || tensor.kind != TensorKind::kPersistent) continue;
      const auto bytes = static_cast<uint64_t>(SizeBytes(tensor.desc));
      if (passing.contains(tensor.name)) {
        most_passing = std::max(most_passing, std::min(bytes, kPassingBytes));
      } else {
        staying[input] = bytes;
      }
    }
  }
  uint64_t total = most_passing;
  for (const auto& [id, bytes] : staying) total += bytes;
  return total;
}

uint64_t AdapterBytes(const AdapterLayout* adapter, uint64_t num_parts) {
  if (adapter == nullptr) return 0;
  return static_cast<uint64_t>(adapter->num_elements) * sizeof(float) * num_parts;
}

}  // namespace

absl::StatusOr<uint64_t> ArenaBytesForTraining(const Model& model, const AdapterLayout& adapter,
                                               const TrainGraphOptions& options) {
  CHOIR_ASSIGN_OR_RETURN(const TrainGraph train, BuildTrainGraph(model, adapter, options));
  CHOIR_ASSIGN_OR_RETURN(const AdamWGraph adamw, BuildAdamWGraph(adapter, options.factors));
  return ArenaBytes(train.graph) + ArenaBytes(adamw.graph);
}

absl::StatusOr<ModelPlan> PlanForTraining(const Model& model, const AdapterLayout& adapter,
                                          const TrainGraphOptions& options, Backend* backend,
                                          const CompileOptions& compile,
                                          const WeightResidency& residency) {
  CHOIR_ASSIGN_OR_RETURN(const TrainGraph train, BuildTrainGraph(model, adapter, options));
  CHOIR_ASSIGN_OR_RETURN(const AdamWGraph adamw, BuildAdamWGraph(adapter, options.factors));
  ModelPlan plan;
  plan.arena_bytes = ArenaBytes(train.graph) + ArenaBytes(adamw.graph);
  plan.weight_bytes = WeightBytes(model);
  // Parameters, gradients and two moments, and the squared norm.
  plan.adapter_bytes = AdapterBytes(&adapter, 4) + sizeof(float);
  if (backend == nullptr) return plan;
  if (backend->info().backend == "cpu") {
    const WeightResidency tables = {.embedding = residency.embedding, .output = residency.output};
    plan.weight_bytes = TouchedBytes(train.graph, WeightsToStream(model, tables));
  }
  CHOIR_ASSIGN_OR_RETURN(plan.workspace_bytes, backend->WorkspaceBytes(train.graph, compile));
  CHOIR_ASSIGN_OR_RETURN(const uint64_t update, backend->WorkspaceBytes(adamw.graph, compile));
  plan.workspace_bytes += update;
  return plan;
}

absl::StatusOr<ModelPlan> PlanForEvaluation(const Model& model, const AdapterLayout* adapter,
                                            int64_t tokens, Backend* backend,
                                            const CompileOptions& compile) {
  CHOIR_ASSIGN_OR_RETURN(const EvalGraph eval, BuildEvalGraph(model, adapter, tokens));
  ModelPlan plan;
  plan.arena_bytes = ArenaBytes(eval.graph);
  plan.weight_bytes = WeightBytes(model);
  plan.adapter_bytes = AdapterBytes(adapter, 1);
  if (backend != nullptr) {
    CHOIR_ASSIGN_OR_RETURN(plan.workspace_bytes, backend->WorkspaceBytes(eval.graph, compile));
  }
  return plan;
}

absl::StatusOr<ModelPlan> PlanForGeneration(const Model& model, const AdapterLayout* adapter,
                                            std::span<const int64_t> piece_tokens,
                                            int64_t cache_rows, KvCacheType cache_type) {
  ModelPlan plan;
  for (const int64_t tokens : piece_tokens) {
    CHOIR_ASSIGN_OR_RETURN(const CachedGraph piece,
                           BuildCachedGraph(model, adapter, tokens, cache_rows, cache_type));
    plan.arena_bytes += ArenaBytes(piece.graph);
  }
  plan.weight_bytes = WeightBytes(model);
  plan.adapter_bytes = AdapterBytes(adapter, 1);
  CHOIR_ASSIGN_OR_RETURN(plan.cache_bytes, KvCacheBytes(model.spec(), cache_rows, cache_type));
  return plan;
}

}  // namespace choir::engine
