#ifndef CHOIR_COORDINATOR_GATE_EVALUATE_COMMAND_H_
#define CHOIR_COORDINATOR_GATE_EVALUATE_COMMAND_H_

#include <string>

#include "absl/status/statusor.h"

#include "coordinator/gate/evaluation.h"

// The evaluating process: the only place of the coordinator that has the engine.
namespace choir::coordinator {

// Evaluates on the CPU, with all cores.
absl::StatusOr<double> EvaluateHeldOut(const EvaluationJob& job);

// `choir-coordinator evaluate FOLDER`: FOLDER/job.json in, FOLDER/result.json out. Ends with its
// parent. The exit code: 0, or 1 with the reason on standard error.
int RunEvaluateCommand(const std::string& folder);

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_GATE_EVALUATE_COMMAND_H_
