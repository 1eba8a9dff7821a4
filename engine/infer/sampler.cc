#include "engine/infer/sampler.h"

#include <algorithm>
#include <cmath>
#include <unordered_set>

#include <fmt/format.h>

#include "base/status_macros.h"

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

absl::Status CheckSampling(const SamplingOptions& options) {
  // Written so that NaN is refused too.
  const auto refuse = [](const char* name, auto value, const char* range) {
    return absl::InvalidArgumentError(fmt::format("{} {} is not {}", name, value, range));
  };
  if (!(options.repeat_penalty > 0 && std::isfinite(options.repeat_penalty))) {
    return refuse("repeat penalty", options.repeat_penalty, "above 0");
  }
  if (options.repeat_window < -1) {
    return refuse("repeat window", options.repeat_window, "a number of tokens, or -1 for all");
  }
  if (!(options.temperature >= 0 && std::isfinite(options.temperature))) {
    return refuse("temperature", options.temperature, "0 or above");
  }
  if (options.top_k < 0) return refuse("top-k", options.top_k, "0 or above");
  if (!(options.top_p > 0 && options.top_p <= 1)) {
    return refuse("top-p", options.top_p, "above 0 and at most 1");
  }
  if (!(options.min_p >= 0 && options.min_p <= 1)) {
    return refuse("min-p", options.min_p, "between 0 and 1");
  }
  return absl::OkStatus();
}

absl::StatusOr<RandomSampler> RandomSampler::Create(const SamplingOptions& options) {
  CHOIR_RETURN_IF_ERROR(CheckSampling(options));
  return RandomSampler(options);
}

absl::StatusOr<int32_t> RandomSampler::Sample(std::span<const float> logits,
                                              std::span<const int32_t> history) {
  logits_.assign(logits.begin(), logits.end());
  if (options_.repeat_penalty != 1.0f) Penalise(history);
  // The greedy choice also stands for the draw where nothing can be drawn: no temperature, an
  // infinite logit.
  CHOIR_ASSIGN_OR_RETURN(const int32_t best, GreedySampler().Sample(logits_, history));
  if (options_.temperature == 0 || !std::isfinite(logits_[static_cast<size_t>(best)])) return best;
  candidates_.clear();
  for (size_t i = 0; i < logits_.size(); ++i) {
    if (std::isnan(logits_[i])) continue;
    candidates_.push_back({static_cast<int32_t>(i), logits_[i], 0});
  }
  Narrow();
  return Draw();
}

void RandomSampler::Penalise(std::span<const int32_t> history) {
  const auto window = static_cast<size_t>(options_.repeat_window);
  if (options_.repeat_window >= 0 && window < history.size()) history = history.last(window);
  const std::unordered_set<int32_t> seen(history.begin(), history.end());
  for (const int32_t id : seen) {
    if (id < 0 || static_cast<size_t>(id) >= logits_.size()) continue;
    float& logit = logits_[static_cast<size_t>(id)];
    logit = logit > 0 ? logit / options_.repeat_penalty : logit * options_.repeat_penalty;
  }
}

void RandomSampler::Narrow() {
  const auto likelier = [](const Candidate& a, const Candidate& b) {
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
  };
  const auto top_k = static_cast<size_t>(options_.top_k);
  const size_t kept = top_k == 0 ? candidates_.size() : std::min(top_k, candidates_.size());
  const auto end = candidates_.begin() + static_cast<std::ptrdiff_t>(kept);
  std::partial_sort(candidates_.begin(), end, candidates_.end(), likelier);
  candidates_.erase(end, candidates_.end());
  double total = 0;
  for (Candidate& candidate : candidates_) {
    const double below = double{candidate.logit} - double{candidates_.front().logit};
    candidate.weight = std::exp(below / double{options_.temperature});
    total += candidate.weight;
  }
  // The first always stays.
  size_t count = 0;
  double mass = 0;
  while (count < candidates_.size() && (count == 0 || mass < options_.top_p * total) &&
         candidates_[count].weight >= static_cast<double>(options_.min_p)) {
    mass += candidates_[count++].weight;
  }
  candidates_.resize(count);
}

int32_t RandomSampler::Draw() {
  double total = 0;
  for (const Candidate& candidate : candidates_) total += candidate.weight;
  double at = rng_.NextUnit() * total;
  for (const Candidate& candidate : candidates_) {
    at -= candidate.weight;
    if (at < 0) return candidate.id;
  }
  // Rounding: the sum of what was taken away is a hair below the total.
  return candidates_.back().id;
}

}  // namespace choir::engine
