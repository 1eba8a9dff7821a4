#ifndef CHOIR_COORDINATOR_SERVICE_MERGE_GATE_H_
#define CHOIR_COORDINATOR_SERVICE_MERGE_GATE_H_

#include <string>

#include "absl/status/status.h"

#include "base/sha256.h"
#include "choir/v1/run.pb.h"
#include "coordinator/blob/blob_store.h"
#include "coordinator/gate/evaluation.h"

// The evaluation gate of a merge: a version that predicts the operator's held-out texts worse than
// its parent, by more than the run's margin, is not published.
namespace choir::coordinator {

struct GateParts {
  const Evaluate& evaluate;
  std::string folder;  // for the files of the evaluation; made, and removed again
  BlobStore& blobs;
};

// Evaluates `candidate`, and the parent where its version does not say, and writes the candidate's
// NLL into `version`. Does nothing for a run without a gate. FAILED_PRECONDITION with the reason
// kWorseThanParent if it is refused; any other error: it could not be evaluated.
absl::Status PassGate(const v1::RunConfig& config, const v1::AdapterVersion& parent,
                      const Digest& candidate, const GateParts& parts, v1::AdapterVersion& version);

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_SERVICE_MERGE_GATE_H_
