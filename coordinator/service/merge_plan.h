#ifndef CHOIR_COORDINATOR_SERVICE_MERGE_PLAN_H_
#define CHOIR_COORDINATOR_SERVICE_MERGE_PLAN_H_

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "choir/v1/run.pb.h"
#include "coordinator/strategy/combine.h"
#include "coordinator/strategy/server_optimizer.h"
#include "coordinator/strategy/strategy.h"

// How a run's sums become its next adapter: from its configuration to the parts that do it.
namespace choir::coordinator {

struct MergePlan {
  std::unique_ptr<AggregationStrategy> strategy;
  CombineOptions combine;
  ServerOptimizerConfig optimizer;
};

// INVALID_ARGUMENT names the setting, what it holds and what it may hold.
absl::StatusOr<MergePlan> MergePlanOf(const v1::AggregationSpec& spec);

// Fills in what was left out, and checks it all.
absl::Status FillMergePlan(v1::AggregationSpec& spec);

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_SERVICE_MERGE_PLAN_H_
