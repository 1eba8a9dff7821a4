#include "coordinator/strategy/strategy.h"

#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/status_macros.h"
#include "coordinator/strategy/alternating.h"
#include "coordinator/strategy/fed_avg.h"

namespace choir::coordinator {
namespace {

struct StrategyEntry {
  const char* name;
  std::unique_ptr<AggregationStrategy> (*make)();
};

template <typename Strategy>
std::unique_ptr<AggregationStrategy> Make() {
  return std::make_unique<Strategy>();
}

// One line per strategy, in alphabetical order.
constexpr StrategyEntry kStrategies[] = {
    {"alternating", Make<Alternating>},
    {"fedavg", Make<FedAvg>},
};

}  // namespace

absl::StatusOr<std::unique_ptr<AggregationStrategy>> MakeStrategy(std::string_view name) {
  for (const StrategyEntry& entry : kStrategies) {
    if (entry.name == name) return entry.make();
  }
  return absl::NotFoundError(
      fmt::format("no strategy \"{}\": there are {}", name, fmt::join(StrategyNames(), ", ")));
}

std::vector<std::string> StrategyNames() {
  std::vector<std::string> names;
  for (const StrategyEntry& entry : kStrategies) names.emplace_back(entry.name);
  return names;
}

absl::StatusOr<std::vector<float>> WeightedMean(std::span<const CohortUpdate> cohorts,
                                                uint64_t length) {
  double total = 0;
  for (const CohortUpdate& cohort : cohorts) {
    if (cohort.mean_delta.size() != length) {
      return absl::InvalidArgumentError(fmt::format("a cohort's sum has {} values, the adapter {}",
                                                    cohort.mean_delta.size(), length));
    }
    if (!(cohort.total_weight > 0) || !std::isfinite(cohort.total_weight)) {
      return absl::InvalidArgumentError(
          fmt::format("a cohort's total weight is {}", cohort.total_weight));
    }
    total += cohort.total_weight;
  }
  if (cohorts.empty()) return absl::InvalidArgumentError("there is no cohort to merge");
  if (cohorts.size() == 1) return cohorts[0].mean_delta;
  std::vector<double> mean(length, 0.0);
  for (const CohortUpdate& cohort : cohorts) {
    const double share = cohort.total_weight / total;
    for (size_t i = 0; i < length; ++i) mean[i] += share * double{cohort.mean_delta[i]};
  }
  return std::vector<float>(mean.begin(), mean.end());
}

}  // namespace choir::coordinator
