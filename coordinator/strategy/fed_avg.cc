#include "coordinator/strategy/fed_avg.h"

#include "base/status_macros.h"

namespace choir::coordinator {

engine::TrainedFactors FedAvg::Factors(uint64_t /*parent*/) const {
  return engine::TrainedFactors::kBoth;
}

absl::Status FedAvg::Merge(std::span<const CohortUpdate> cohorts, uint64_t parent,
                           float server_rate, engine::Adapter& adapter) const {
  const engine::TrainedFactors factors = Factors(parent);
  CHOIR_ASSIGN_OR_RETURN(const std::vector<float> mean,
                         WeightedMean(cohorts, engine::CountFactors(adapter, factors)));
  return engine::AddToFactors(adapter, factors, server_rate, mean);
}

}  // namespace choir::coordinator
