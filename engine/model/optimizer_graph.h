#ifndef CHOIR_ENGINE_MODEL_OPTIMIZER_GRAPH_H_
#define CHOIR_ENGINE_MODEL_OPTIMIZER_GRAPH_H_

// The two programs of an optimizer step over the flat adapter: the gradient's norm, for clipping,
// and AdamW. Both touch the trained factors only.

#include "absl/status/statusor.h"

#include "engine/graph/graph.h"
#include "engine/lora/factors.h"
#include "engine/model/adapter_layout.h"

namespace choir::engine {

// Adds the sum of squared gradients to the adapter's squared norm: call DeviceAdapter::
// ZeroSquaredNorm before a run and ReadSquaredNorm after it. No inputs, no outputs.
absl::StatusOr<Graph> BuildGradNormGraph(const AdapterLayout& adapter, TrainedFactors factors);

// One AdamW step; leaves the gradients zero.
struct AdamWGraph {
  Graph graph;
  // Input, f32 (1,8): {lr, beta1, beta2, eps, weight_decay, 1-beta1^t, 1-beta2^t, grad_scale}, with
  // t = 1 for the first step; grad_scale is 1, or less to clip.
  TensorId hyper = -1;
};
absl::StatusOr<AdamWGraph> BuildAdamWGraph(const AdapterLayout& adapter, TrainedFactors factors);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_MODEL_OPTIMIZER_GRAPH_H_
