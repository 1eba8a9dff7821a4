#include "coordinator/strategy/combine.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "base/status_macros.h"

namespace choir::coordinator {
namespace {

absl::Status CheckCohorts(std::span<const CohortUpdate> cohorts, uint64_t length) {
  if (cohorts.empty()) return absl::InvalidArgumentError("there is no cohort to merge");
  for (const CohortUpdate& cohort : cohorts) {
    if (cohort.mean_delta.size() != length) {
      return absl::InvalidArgumentError(fmt::format("a cohort's sum has {} values, the round {}",
                                                    cohort.mean_delta.size(), length));
    }
    if (!(cohort.total_weight > 0) || !std::isfinite(cohort.total_weight)) {
      return absl::InvalidArgumentError(
          fmt::format("a cohort's total weight is {}", cohort.total_weight));
    }
  }
  return absl::OkStatus();
}

std::vector<float> WeightedMean(std::span<const CohortUpdate> cohorts, uint64_t length) {
  double total = 0;
  for (const CohortUpdate& cohort : cohorts) total += cohort.total_weight;
  std::vector<double> mean(length, 0.0);
  for (const CohortUpdate& cohort : cohorts) {
    const double share = cohort.total_weight / total;
    for (size_t i = 0; i < length; ++i) mean[i] += share * double{cohort.mean_delta[i]};
  }
  return {mean.begin(), mean.end()};
}

// The mean of what is left of `values` without `cut` at either end; sorts them.
float MeanOfMiddle(std::vector<float>& values, size_t cut) {
  std::sort(values.begin(), values.end());
  double sum = 0;
  for (size_t i = cut; i < values.size() - cut; ++i) sum += double{values[i]};
  return static_cast<float>(sum / static_cast<double>(values.size() - 2 * cut));
}

}  // namespace

absl::StatusOr<CombineRule> ParseCombineRule(std::string_view name) {
  if (name.empty() || name == "mean") return CombineRule::kMean;
  if (name == "median") return CombineRule::kMedian;
  if (name == "trimmed-mean") return CombineRule::kTrimmedMean;
  return absl::InvalidArgumentError(
      fmt::format("\"{}\" combines no cohorts: use mean, median or trimmed-mean", name));
}

absl::StatusOr<std::vector<float>> CombineCohorts(std::span<const CohortUpdate> cohorts,
                                                  uint64_t length, const CombineOptions& options) {
  CHOIR_RETURN_IF_ERROR(CheckCohorts(cohorts, length));
  if (cohorts.size() == 1) return cohorts[0].mean_delta;
  if (options.rule == CombineRule::kMean) return WeightedMean(cohorts, length);
  // The median is the trimmed mean that leaves the one or two values in the middle.
  const size_t most = (cohorts.size() - 1) / 2;
  size_t cut = most;
  if (options.rule == CombineRule::kTrimmedMean) {
    cut = std::min(most, static_cast<size_t>(options.trim * static_cast<double>(cohorts.size())));
  }
  std::vector<float> out(length);
  std::vector<float> values(cohorts.size());
  for (size_t i = 0; i < length; ++i) {
    for (size_t c = 0; c < cohorts.size(); ++c) values[c] = cohorts[c].mean_delta[i];
    out[i] = MeanOfMiddle(values, cut);
  }
  return out;
}

}  // namespace choir::coordinator
