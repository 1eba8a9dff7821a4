#ifndef CHOIR_ENGINE_TRAIN_GRADIENTS_H_
#define CHOIR_ENGINE_TRAIN_GRADIENTS_H_

#include <cstdint>
#include <span>

#include "absl/status/statusor.h"

#include "engine/backend/backend.h"
#include "engine/graph/kept_activations.h"
#include "engine/lora/adapter.h"
#include "engine/model/device_model.h"
#include "engine/model/model.h"

namespace choir::engine {

struct LossAndGradients {
  double loss = 0;    // sum_i weight_i * nll_i / sum_i weight_i
  Adapter gradients;  // d loss / d A and d loss / d B, with the adapter's names and shapes
};

// For people who verify engines: one document, ids[i] predicts ids[i + 1] with weights[i].
// INVALID_ARGUMENT: fewer than two ids, another number of weights than of targets, weights that are
// negative or all zero, an id outside the vocabulary, an adapter that does not fit.
absl::StatusOr<LossAndGradients> ComputeGradients(
    const Model& model, Backend& backend, const DeviceModel& weights, const Adapter& adapter,
    std::span<const int32_t> ids, std::span<const float> loss_weights, Compute compute,
    KeptActivations kept = KeptActivations::kAll);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_TRAIN_GRADIENTS_H_
