#ifndef CHOIR_COORDINATOR_GATE_EVALUATION_H_
#define CHOIR_COORDINATOR_GATE_EVALUATION_H_

// The evaluation gate's question: how well does an adapter predict the operator's held-out texts?
// Asked by a merge, answered by a process of its own (docs/decisions/0020).

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace choir::coordinator {

struct EvaluationJob {
  std::string model_path;    // GGUF
  std::string adapter_path;  // GGUF
  std::string data_path;     // JSONL
  // As the run's nodes train.
  uint32_t context_tokens = 0;
  std::string packing;   // "packed", "windows"
  std::string train_on;  // "all", "completion"
  std::string compute;   // "auto", "f32", "bf16"
};

// The mean negative log-likelihood of a predicted token, natural logarithm. May take minutes;
// thread-safe. INVALID_ARGUMENT or DATA_LOSS: the model, the adapter or the data cannot be read.
using Evaluate = std::function<absl::StatusOr<double>(const EvaluationJob&)>;

// OK if the candidate is no worse than its parent by more than `margin` (of NLL); otherwise
// FAILED_PRECONDITION with the numbers. One that is no number is worse.
absl::Status CheckAgainstParent(double parent_nll, double candidate_nll, double margin);

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_GATE_EVALUATION_H_
