#ifndef CHOIR_COORDINATOR_GATE_EVALUATION_FILES_H_
#define CHOIR_COORDINATOR_GATE_EVALUATION_FILES_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "coordinator/gate/evaluation.h"

// What the coordinator and its evaluating process say to each other, as files in one folder:
// job.json in, result.json out.
namespace choir::coordinator {

absl::Status WriteEvaluationJob(const std::string& folder, const EvaluationJob& job);
absl::StatusOr<EvaluationJob> ReadEvaluationJob(const std::string& folder);
absl::Status WriteEvaluationResult(const std::string& folder, double mean_nll);
// NOT_FOUND while there is none, DATA_LOSS if it is damaged.
absl::StatusOr<double> ReadEvaluationResult(const std::string& folder);

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_GATE_EVALUATION_FILES_H_
