#include "engine/infer/sampler.h"

#include <cmath>

namespace choir::engine {

absl::StatusOr<int32_t> GreedySampler::Sample(std::span<const float> logits,
                                              std::span<const int32_t> /*history*/) {
  int32_t best = -1;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (std::isnan(logits[i])) continue;
    if (best < 0 || logits[i] > logits[static_cast<size_t>(best)]) best = static_cast<int32_t>(i);
  }
  if (best < 0) return absl::DataLossError("no logit is a number: the model or adapter is damaged");
  return best;
}

}  // namespace choir::engine
