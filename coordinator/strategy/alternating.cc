#include "coordinator/strategy/alternating.h"

#include "base/status_macros.h"

namespace choir::coordinator {

engine::TrainedFactors Alternating::Factors(uint64_t parent) const {
  return parent % 2 == 0 ? engine::TrainedFactors::kB : engine::TrainedFactors::kA;
}

absl::Status Alternating::Merge(std::span<const CohortUpdate> cohorts, uint64_t parent,
                                float server_rate, engine::Adapter& adapter) const {
  const engine::TrainedFactors factors = Factors(parent);
  CHOIR_ASSIGN_OR_RETURN(const std::vector<float> mean,
                         WeightedMean(cohorts, engine::CountFactors(adapter, factors)));
  return engine::AddToFactors(adapter, factors, server_rate, mean);
}

}  // namespace choir::coordinator
