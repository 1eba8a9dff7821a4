#ifndef CHOIR_ENGINE_MODEL_TRAIN_GRAPH_H_
#define CHOIR_ENGINE_MODEL_TRAIN_GRAPH_H_

// The programs that learn and measure: T packed tokens in, a loss for each out.

#include <cstdint>

#include "absl/status/statusor.h"

#include "engine/graph/graph.h"
#include "engine/graph/kept_activations.h"
#include "engine/lora/factors.h"
#include "engine/model/adapter_layout.h"
#include "engine/model/model.h"

namespace choir::engine {

// Inputs of both programs, each (1,T) unless said otherwise; padding: segment -1, loss weight 0.
struct LossInputs {
  TensorId ids = -1;           // i32, in [0, V)
  TensorId positions = -1;     // i32, from 0 in each segment
  TensorId segments = -1;      // i32: tokens see only their own segment
  TensorId targets = -1;       // i32, in [0, V); not read where the loss weight is 0
  TensorId loss_weights = -1;  // f32
  TensorId loss_scale = -1;    // f32 (1,1)
};

struct TrainGraphOptions {
  int64_t tokens = 512;
  TrainedFactors factors = TrainedFactors::kBoth;
  // Layers, from the first, that the backward pass recomputes instead of keeping them.
  int64_t recomputed_blocks = 0;
  // Of every layer's intermediates.
  KeptActivations kept = KeptActivations::kAll;
  double dropout = 0;  // on what adapters read; 0: none
};

// One micro-step: adds to the gradients the gradient of loss_scale * sum_t loss_weights_t * nll_t.
// For the mean over an optimizer step of several micro-batches, loss_scale is 1 / (sum of the loss
// weights of all of them).
// Persistent tensors: weights by their names in the file; adapter factors "<base>.lora_a" and
// "<base>.lora_b" (DeviceAdapter::Bind); gradients of trained factors, the same with ".grad".
struct TrainGraph {
  Graph graph;
  LossInputs inputs;
  TensorId nll = -1;  // output, f32 (1,T): -log p(target), 0 where the loss weight is 0
  // i32 (1,3), see engine/ops/dropout_mask.h: another one for each micro-batch. -1 without dropout.
  TensorId dropout_key = -1;
};
absl::StatusOr<TrainGraph> BuildTrainGraph(const Model& model, const AdapterLayout& adapter,
                                           const TrainGraphOptions& options);

// The loss without gradient; `adapter` may be null.
struct EvalGraph {
  Graph graph;
  LossInputs inputs;  // loss_scale is bound to nothing that matters: write any number
  TensorId nll = -1;
};
absl::StatusOr<EvalGraph> BuildEvalGraph(const Model& model, const AdapterLayout* adapter,
                                         int64_t tokens);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_MODEL_TRAIN_GRAPH_H_
