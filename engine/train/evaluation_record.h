#ifndef CHOIR_ENGINE_TRAIN_EVALUATION_RECORD_H_
#define CHOIR_ENGINE_TRAIN_EVALUATION_RECORD_H_

#include <cstdint>

#include "base/sha256.h"

namespace choir::engine {

// When a run measures its adapter on held-out data, and when that ends it. Part of a run's
// settings: a checkpoint goes on only with the same. Besides the rhythm, every evaluated run is
// measured before its first step and after its last.
struct EvaluationPlan {
  int64_t every_steps = 0;  // 0: only at the start and at the end
  // Evaluations in a row without a new best that end the run early; 0: never.
  int64_t patience = 0;
  Digest held_out{};  // of the held-out data (TrainingData::digest); zero without any
  friend bool operator==(const EvaluationPlan&, const EvaluationPlan&) = default;
};

// What the evaluations of a run have said so far. Part of a checkpoint.
struct EvaluationRecord {
  uint64_t evaluations = 0;
  // Mean NLL of a held-out token; the first one is that of the adapter the run began with.
  double first_loss = 0;
  double best_loss = 0;
  double last_loss = 0;
  int64_t best_step = 0;
  int64_t last_step = 0;
  uint64_t without_gain = 0;  // evaluations in a row, up to the last one, that were no new best

  // Notes an evaluation after `step` steps; true if it is the best so far. Equal is not better: of
  // equals, the one with fewer steps stays.
  bool Add(int64_t step, double loss);
  // Does `plan` end the run here?
  [[nodiscard]] bool OutOfPatience(const EvaluationPlan& plan) const;
  friend bool operator==(const EvaluationRecord&, const EvaluationRecord&) = default;
};

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_TRAIN_EVALUATION_RECORD_H_
