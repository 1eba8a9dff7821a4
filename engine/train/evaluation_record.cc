#include "engine/train/evaluation_record.h"

namespace choir::engine {

bool EvaluationRecord::Add(int64_t step, double loss) {
  const bool is_first = evaluations == 0;
  const bool is_best = is_first || loss < best_loss;
  ++evaluations;
  if (is_first) first_loss = loss;
  last_loss = loss;
  last_step = step;
  without_gain = is_best ? 0 : without_gain + 1;
  if (is_best) {
    best_loss = loss;
    best_step = step;
  }
  return is_best;
}

bool EvaluationRecord::OutOfPatience(const EvaluationPlan& plan) const {
  return plan.patience > 0 && without_gain >= static_cast<uint64_t>(plan.patience);
}

}  // namespace choir::engine
