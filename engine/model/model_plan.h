#ifndef CHOIR_ENGINE_MODEL_MODEL_PLAN_H_
#define CHOIR_ENGINE_MODEL_MODEL_PLAN_H_

// What a program will need, before anything is allocated: `choir plan`, and a node that refuses a
// task which does not fit.

#include <cstdint>
#include <span>

#include "absl/status/statusor.h"

#include "engine/backend/backend.h"
#include "engine/model/adapter_layout.h"
#include "engine/model/kv_cache.h"
#include "engine/model/model.h"
#include "engine/model/train_graph.h"
#include "engine/model/weight_residency.h"

namespace choir::engine {

// Bytes. The arena is exact for 64-byte alignment.
struct ModelPlan {
  uint64_t arena_bytes = 0;    // intermediates, inputs, outputs
  uint64_t weight_bytes = 0;   // frozen weights: mapped on the CPU, where of a table that does not
                               // stay (WeightResidency) a part counts; uploaded on a GPU
  uint64_t adapter_bytes = 0;  // parameters; in training also gradients and moments
  uint64_t cache_bytes = 0;    // KV cache
  uint64_t workspace_bytes = 0;  // scratch of kernels, where the backend can tell beforehand
  uint64_t beside_bytes = 0;     // what there is beside the steps: a second program that measures
                                 // held-out data, copies of the adapter for checkpoints

  [[nodiscard]] uint64_t total_bytes() const {
    return arena_bytes + weight_bytes + adapter_bytes + cache_bytes + workspace_bytes +
           beside_bytes;
  }
};

// Training: micro-step and optimizer together. `backend` may be null: then without workspace, and
// as if all weights were uploaded. Blocks of `residency` are not looked at: all count.
absl::StatusOr<ModelPlan> PlanForTraining(const Model& model, const AdapterLayout& adapter,
                                          const TrainGraphOptions& options,
                                          Backend* backend = nullptr,
                                          const CompileOptions& compile = {},
                                          const WeightResidency& residency = {});

// The activations of that alone: quick, for those who try several options.
absl::StatusOr<uint64_t> ArenaBytesForTraining(const Model& model, const AdapterLayout& adapter,
                                               const TrainGraphOptions& options);

// `backend` may be null: then without workspace.
absl::StatusOr<ModelPlan> PlanForEvaluation(const Model& model, const AdapterLayout* adapter,
                                            int64_t tokens, Backend* backend = nullptr,
                                            const CompileOptions& compile = {});
// With a program for each of these numbers of tokens.
absl::StatusOr<ModelPlan> PlanForGeneration(const Model& model, const AdapterLayout* adapter,
                                            std::span<const int64_t> piece_tokens,
                                            int64_t cache_rows, KvCacheType cache_type);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_MODEL_MODEL_PLAN_H_
