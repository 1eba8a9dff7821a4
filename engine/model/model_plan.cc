#include "engine/model/model_plan.h"

#include <algorithm>
#include <map>

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

// A page that is missing brings its neighbours: the kernel maps 64 KiB around it.
constexpr uint64_t kFaultBytes = uint64_t{64} << 10;

// Weights that a run of this graph brings into memory where it reads them in place.
uint64_t TouchedBytes(const Graph& graph, int64_t tokens) {
  std::map<TensorId, uint64_t> touched;
  for (const Node& node : graph.nodes()) {
    for (const TensorId input : node.inputs) {
      const TensorDesc& desc = graph.tensor(input).desc;
      if (desc.dtype != DType::kWeight) continue;
      auto bytes = static_cast<uint64_t>(SizeBytes(desc));
      if (node.op->name == std::string_view("embed")) {
        bytes = std::min(bytes, static_cast<uint64_t>(tokens) * kFaultBytes);
      }
      touched[input] = std::max(touched[input], bytes);
    }
  }
  uint64_t total = 0;
  for (const auto& [id, bytes] : touched) total += bytes;
  return total;
}

uint64_t AdapterBytes(const AdapterLayout* adapter, uint64_t num_parts) {
  if (adapter == nullptr) return 0;
  return static_cast<uint64_t>(adapter->num_elements) * sizeof(float) * num_parts;
}

}  // namespace

absl::StatusOr<ModelPlan> PlanForTraining(const Model& model, const AdapterLayout& adapter,
                                          const TrainGraphOptions& options, Backend* backend,
                                          const CompileOptions& compile) {
  CHOIR_ASSIGN_OR_RETURN(const TrainGraph train, BuildTrainGraph(model, adapter, options));
  CHOIR_ASSIGN_OR_RETURN(const AdamWGraph adamw, BuildAdamWGraph(adapter, options.factors));
  ModelPlan plan;
  plan.arena_bytes = ArenaBytes(train.graph) + ArenaBytes(adamw.graph);
  plan.weight_bytes = WeightBytes(model);
  // Parameters, gradients and two moments, and the squared norm.
  plan.adapter_bytes = AdapterBytes(&adapter, 4) + sizeof(float);
  if (backend == nullptr) return plan;
  if (backend->info().backend == "cpu") {
    plan.weight_bytes = TouchedBytes(train.graph, options.tokens);
  }
  CHOIR_ASSIGN_OR_RETURN(plan.workspace_bytes, backend->WorkspaceBytes(train.graph, compile));
  CHOIR_ASSIGN_OR_RETURN(const uint64_t update, backend->WorkspaceBytes(adamw.graph, compile));
  plan.workspace_bytes += update;
  return plan;
}

uint64_t LeastResidentBytes(const Model& model) {
  uint64_t largest = 0;
  for (const GgufTensor& tensor : model.file().tensors()) {
    largest = std::max<uint64_t>(largest, tensor.bytes.size());
  }
  return 2 * largest;
}

std::set<std::string_view> WeightsToStream(const Model& model, uint64_t resident_bytes) {
  std::set<std::string_view> streamed;
  if (WeightBytes(model) <= resident_bytes) return streamed;
  uint64_t room = resident_bytes - std::min(resident_bytes, LeastResidentBytes(model));
  for (const GgufTensor& tensor : model.file().tensors()) {
    if (tensor.bytes.size() <= room) {
      room -= tensor.bytes.size();
    } else {
      room = 0;  // what is used together stays or goes together
      streamed.insert(tensor.name);
    }
  }
  return streamed;
}

absl::StatusOr<ModelPlan> PlanForEvaluation(const Model& model, const AdapterLayout* adapter,
                                            int64_t tokens) {
  CHOIR_ASSIGN_OR_RETURN(const EvalGraph eval, BuildEvalGraph(model, adapter, tokens));
  ModelPlan plan;
  plan.arena_bytes = ArenaBytes(eval.graph);
  plan.weight_bytes = WeightBytes(model);
  plan.adapter_bytes = AdapterBytes(adapter, 1);
  return plan;
}

absl::StatusOr<ModelPlan> PlanForGeneration(const Model& model, const AdapterLayout* adapter,
                                            int64_t prompt_tokens, int64_t cache_rows,
                                            KvCacheType cache_type) {
  CHOIR_ASSIGN_OR_RETURN(const CachedGraph prompt,
                         BuildCachedGraph(model, adapter, prompt_tokens, cache_rows, cache_type));
  CHOIR_ASSIGN_OR_RETURN(const CachedGraph decode,
                         BuildCachedGraph(model, adapter, 1, cache_rows, cache_type));
  ModelPlan plan;
  plan.arena_bytes = ArenaBytes(prompt.graph) + ArenaBytes(decode.graph);
  plan.weight_bytes = WeightBytes(model);
  plan.adapter_bytes = AdapterBytes(adapter, 1);
  CHOIR_ASSIGN_OR_RETURN(plan.cache_bytes, KvCacheBytes(model.spec(), cache_rows, cache_type));
  return plan;
}

}  // namespace choir::engine
