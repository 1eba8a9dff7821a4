#ifndef CHOIR_ENGINE_MODEL_MODEL_PLAN_H_
#define CHOIR_ENGINE_MODEL_MODEL_PLAN_H_

// What a program will need, before anything is allocated: `choir plan`, and a node that refuses a
// task which does not fit.

#include <cstdint>
#include <set>
#include <string_view>

#include "absl/status/statusor.h"

#include "engine/backend/backend.h"
#include "engine/model/adapter_layout.h"
#include "engine/model/kv_cache.h"
#include "engine/model/model.h"
#include "engine/model/train_graph.h"

namespace choir::engine {

// Bytes. The arena is exact for 64-byte alignment.
struct ModelPlan {
  uint64_t arena_bytes = 0;   // intermediates, inputs, outputs
  uint64_t weight_bytes = 0;  // frozen weights: mapped on the CPU, where of an embedding table only
                              // the pages that the tokens touch count; uploaded on a GPU
  uint64_t adapter_bytes = 0;    // parameters; in training also gradients and moments
  uint64_t cache_bytes = 0;      // KV cache
  uint64_t workspace_bytes = 0;  // scratch of kernels, where the backend can tell beforehand

  [[nodiscard]] uint64_t total_bytes() const {
    return arena_bytes + weight_bytes + adapter_bytes + cache_bytes + workspace_bytes;
  }
};

// Training: micro-step and optimizer together. `backend` may be null: then without workspace, and
// as if all weights were uploaded.
absl::StatusOr<ModelPlan> PlanForTraining(const Model& model, const AdapterLayout& adapter,
                                          const TrainGraphOptions& options,
                                          Backend* backend = nullptr,
                                          const CompileOptions& compile = {});

// Names of the weights to stream so that at most `resident_bytes` of them are in memory: those at
// the end of the file, and room for the two largest of them on their way. Empty if all may stay.
std::set<std::string_view> WeightsToStream(const Model& model, uint64_t resident_bytes);
// The smallest `resident_bytes` that WeightsToStream can keep to.
uint64_t LeastResidentBytes(const Model& model);

absl::StatusOr<ModelPlan> PlanForEvaluation(const Model& model, const AdapterLayout* adapter,
                                            int64_t tokens);
absl::StatusOr<ModelPlan> PlanForGeneration(const Model& model, const AdapterLayout* adapter,
                                            int64_t prompt_tokens, int64_t cache_rows,
                                            KvCacheType cache_type);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_MODEL_MODEL_PLAN_H_
