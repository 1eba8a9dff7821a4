#ifndef CHOIR_COORDINATOR_STRATEGY_FED_AVG_H_
#define CHOIR_COORDINATOR_STRATEGY_FED_AVG_H_

#include "coordinator/strategy/strategy.h"

namespace choir::coordinator {

// A and B averaged each by itself (FedAvg, McMahan et al. 2017, on LoRA factors as in FedIT). The
// baseline: mean(B) mean(A) is not the mean of B A, off by the factors' covariance.
class FedAvg final : public AggregationStrategy {
 public:
  [[nodiscard]] engine::TrainedFactors Factors(uint64_t parent) const override;
  [[nodiscard]] absl::Status Merge(std::span<const CohortUpdate> cohorts, uint64_t parent,
                                   float server_rate, engine::Adapter& adapter) const override;
};

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_STRATEGY_FED_AVG_H_
