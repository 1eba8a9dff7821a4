#ifndef CHOIR_COORDINATOR_STRATEGY_STRATEGY_H_
#define CHOIR_COORDINATOR_STRATEGY_STRATEGY_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "engine/lora/adapter.h"
#include "engine/lora/factors.h"

// How summed deltas become the next adapter. A strategy is handed sums and nothing else, so none
// can be written that looks at a single device.
namespace choir::coordinator {

// What secure aggregation opened of one cohort.
struct CohortUpdate {
  // Sum of the weighted deltas over the sum of the weights: CountFactors() values.
  std::vector<float> mean_delta;
  double total_weight = 0;  // > 0
};

// Stateless: the same arguments give the same adapter.
class AggregationStrategy {
 public:
  virtual ~AggregationStrategy() = default;

  // Which factors nodes train and send in the round that starts from adapter version `parent`
  // (0: the run's initial adapter). An abandoned round leaves the version, and so this, as it was.
  [[nodiscard]] virtual engine::TrainedFactors Factors(uint64_t parent) const = 0;

  // Moves `adapter`, version `parent`, to the next version, `server_rate` of the way.
  // INVALID_ARGUMENT if an update has another length, no weight, or there is none.
  [[nodiscard]] virtual absl::Status Merge(std::span<const CohortUpdate> cohorts, uint64_t parent,
                                           float server_rate, engine::Adapter& adapter) const = 0;
};

// NOT_FOUND lists the names that there are.
absl::StatusOr<std::unique_ptr<AggregationStrategy>> MakeStrategy(std::string_view name);
// In alphabetical order.
std::vector<std::string> StrategyNames();

// The mean over cohorts, each counting by its weight. INVALID_ARGUMENT as in Merge().
absl::StatusOr<std::vector<float>> WeightedMean(std::span<const CohortUpdate> cohorts,
                                                uint64_t length);

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_STRATEGY_STRATEGY_H_
