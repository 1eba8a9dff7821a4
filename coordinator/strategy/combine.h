#ifndef CHOIR_COORDINATOR_STRATEGY_COMBINE_H_
#define CHOIR_COORDINATOR_STRATEGY_COMBINE_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// From several cohorts' means to one update. Under secure aggregation nobody sees one node's
// update, so what is robust is robust against cohorts: a node that lies spoils its own cohort's
// mean, and the median or the trimmed mean over cohorts holds as long as most cohorts are honest
// (Yin et al. 2018, with cohorts for workers).
namespace choir::coordinator {

// What secure aggregation opened of one cohort.
struct CohortUpdate {
  // Sum of the weighted deltas over the sum of the weights: ContributionLength() values.
  std::vector<float> mean_delta;
  double total_weight = 0;  // > 0
  // Of a run with slices (slices.h): the weight behind each component; otherwise empty.
  std::vector<double> component_weights{};
};

enum class CombineRule : uint8_t {
  kMean,         // each cohort by its weight
  kMedian,       // of each coordinate; every cohort counts the same
  kTrimmedMean,  // of each coordinate, without its highest and lowest; the rest counts the same
};

// "mean", "median", "trimmed-mean"; empty: mean. INVALID_ARGUMENT lists them.
absl::StatusOr<CombineRule> ParseCombineRule(std::string_view name);

struct CombineOptions {
  CombineRule rule = CombineRule::kMean;
  // Of a trimmed mean: the share of cohorts left out at either end, in [0, 0.5); the number is
  // rounded down, and at least one cohort is left.
  double trim = 0.2;
};

// INVALID_ARGUMENT: no cohort, one of another length than `length`, or one without weight.
absl::StatusOr<std::vector<float>> CombineCohorts(std::span<const CohortUpdate> cohorts,
                                                  uint64_t length, const CombineOptions& options);

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_STRATEGY_COMBINE_H_
