#ifndef CHOIR_ENGINE_TRAIN_TRAIN_CONFIG_H_
#define CHOIR_ENGINE_TRAIN_TRAIN_CONFIG_H_

#include <cstdint>

#include "absl/status/status.h"

#include "base/sha256.h"
#include "engine/backend/backend.h"
#include "engine/graph/kept_activations.h"
#include "engine/lora/factors.h"
#include "engine/train/evaluation_record.h"
#include "engine/train/schedule.h"

namespace choir::engine {

// AdamW (Loshchilov and Hutter 2019), in PyTorch's order of operations, state in f32.
struct AdamWConfig {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  // Decoupled: p -= lr * weight_decay * p before the step.
  double weight_decay = 0;
};

// The components of a LoRA (rows of A with columns of B) that are trained: `count` of `of` from
// `first` on, past the last one again from 0. A module of lower rank has those of its own that lie
// in the window.
struct ComponentWindow {
  int64_t first = 0;
  int64_t count = 0;  // 0: all
  int64_t of = 0;

  [[nodiscard]] bool IsAll() const { return count == 0 || count >= of; }
  [[nodiscard]] bool Contains(int64_t component) const {
    return IsAll() || (component - first + of) % of < count;
  }
};

// How to train. Every field changes the result, except `compute` on another device, what is
// `kept` for the backward pass (both: but for rounding) and `recomputed_blocks`.
struct TrainConfig {
  // Optimizer steps; 0: as many as `epochs` passes over the data take.
  int64_t steps = 0;
  double epochs = 1;
  // Tokens of a micro-batch (its static shape) and micro-batches of a step. The gradient of a step
  // is that of sum(weight_t * nll_t) / sum(weight_t) over all its micro-batches: the mean over
  // predicted tokens, however they are spread.
  int64_t context_tokens = 512;
  int64_t micro_batches = 1;
  Schedule schedule{};
  AdamWConfig adamw{};
  // The step's gradient is scaled down to this L2 norm; 0: never.
  double max_gradient_norm = 0;
  // FedProx: mu/2 |w - w_start|^2 is added to the loss; 0: not.
  double proximal_mu = 0;
  ComponentWindow window{};
  TrainedFactors factors = TrainedFactors::kBoth;
  // Share of the elements of each adapter's input that a micro-batch leaves out; 0: none. Masks are
  // a function of the seed and the number of the micro-batch.
  double lora_dropout = 0;
  uint64_t dropout_seed = 0;
  Compute compute = Compute::kAuto;
  // Needs TrainHooks::evaluate. Changes the result only where patience ends the run.
  EvaluationPlan evaluation{};
  // Blocks, from the first, whose intermediates the backward pass recomputes.
  int64_t recomputed_blocks = 0;
  // Of the blocks' intermediates. As PlanTraining chose: packed only beside products that round.
  KeptActivations kept = KeptActivations::kAll;

  // A digest of all that changes the result; part of a checkpoint's identity.
  [[nodiscard]] Digest ContentDigest() const;
};

// INVALID_ARGUMENT names the value, with its range.
absl::Status ValidateTrainConfig(const TrainConfig& config);

// Optimizer steps of a run whose first epoch has `micro_batches_in_epoch`. At least 1.
int64_t TotalSteps(const TrainConfig& config, uint64_t micro_batches_in_epoch);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_TRAIN_TRAIN_CONFIG_H_
