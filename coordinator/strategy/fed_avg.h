#ifndef CHOIR_COORDINATOR_STRATEGY_FED_AVG_H_
#define CHOIR_COORDINATOR_STRATEGY_FED_AVG_H_

#include "coordinator/strategy/strategy.h"

namespace choir::coordinator {

// A and B averaged each by itself (FedAvg, McMahan et al. 2017, on LoRA factors as in FedIT). The
// baseline: mean(B) mean(A) is not the mean of B A, off by the factors' covariance.
class FedAvg final : public AggregationStrategy {
 public:
  [[nodiscard]] engine::Contribution ContributionFor(uint64_t parent) const override;
};

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_STRATEGY_FED_AVG_H_
