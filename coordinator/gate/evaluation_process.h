#ifndef CHOIR_COORDINATOR_GATE_EVALUATION_PROCESS_H_
#define CHOIR_COORDINATOR_GATE_EVALUATION_PROCESS_H_

#include <string>

#include "coordinator/gate/evaluation.h"

namespace choir::coordinator {

// The word that makes the coordinator's program evaluate one job's folder instead.
inline constexpr const char* kEvaluateCommand = "evaluate";

// Evaluates in a process of its own: `program` (the coordinator's own executable) with
// kEvaluateCommand and a folder, the one that the job's adapter lies in. What a model does to the
// engine, be it an abort or all memory, ends that process and not the coordinator.
// INTERNAL: the process was killed; otherwise the text that it left on standard error.
Evaluate EvaluateInAProcess(std::string program);

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_GATE_EVALUATION_PROCESS_H_
