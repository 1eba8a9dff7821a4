#ifndef CHOIR_NODE_TASK_ROUND_RUNNER_H_
#define CHOIR_NODE_TASK_ROUND_RUNNER_H_

// One node's part in one round, from the accepted task to the published result. Everything that
// matters is on disk before it is said to anybody, so Run may be called again after a crash at any
// point.

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "base/clock.h"
#include "base/random.h"
#include "node/control/node_status.h"
#include "node/identity/identity.h"
#include "node/policy/owner_policy.h"
#include "node/task/coordinator_client.h"
#include "node/task/kept_training.h"
#include "node/task/model_library.h"
#include "node/task/session_driver.h"
#include "node/task/task_check.h"
#include "node/task/work_folder.h"
#include "node/worker/job.h"
#include "secure-agg/client/client_session.h"

namespace choir::node {

// What a round needs of the daemon. All outlive the runner.
struct RoundParts {
  const NodeHome& home;
  const Identity& identity;
  const OwnerPolicy& policy;
  CoordinatorClient& client;
  ModelLibrary& models;
  NodeBoard& board;
  const Clock& clock;
  RandomSource& random;
  std::string program;  // of this daemon, to start its worker with
  // Waits; false when the daemon is to stop.
  std::function<bool(absl::Duration)> sleep;
  // OK while the owner's conditions and wishes allow work.
  std::function<absl::Status()> allowed_now;
};

// Shows the owner what went wrong, with its reason code if it has one.
void SetProblem(NodeStatus& board, const absl::Status& status);

class RoundRunner {
 public:
  explicit RoundRunner(const RoundParts& parts);

  // Takes the work in hand to its end and clears it away. OK: this node is in the published sum.
  // CANCELLED: the daemon is to stop; the work stays. Any other error ended the work: the text, and
  // secagg::ReasonOf, say why.
  absl::Status Run(const v1::CheckInResponse::Task& offer);

 private:
  absl::Status RunChecked();
  void GiveUp(const absl::Status& why);
  absl::Status Fetch();
  absl::Status FetchBasis(const engine::Adapter& adapter);
  absl::Status FetchModel();
  absl::Status Train();
  absl::StatusOr<Job> MakeJob() const;
  void ChooseWindow(Job& job) const;
  absl::StatusOr<std::vector<double>> Slots(uint64_t examples) const;
  absl::Status RunWorker();
  absl::Status KeepLease(const JobProgress& progress, absl::Time& next_report);
  absl::Status Aggregate();
  absl::StatusOr<secagg::ClientSession> OpenSession(const secagg::Signer& signer,
                                                    const secagg::DeviceVerifier& verifier);
  absl::StatusOr<secagg::ClientSession> StartSession(const std::string& config,
                                                     const secagg::Signer& signer,
                                                     const secagg::DeviceVerifier& verifier);
  absl::StatusOr<std::string> WaitForCohort();
  absl::Status Settle(const std::string& session_hex, const SessionOutcome& outcome);
  // Writes down what is about to leave, and what it costs.
  absl::Status NoteDeparture(const secagg::ClientSession& session,
                             const secagg::MaskedInputHeader& header);
  // The signed result of the session that this node helped to open, checked.
  absl::StatusOr<secagg::RoundResult> AwaitResult();
  absl::Status CheckResult(const secagg::ClientSession& session,
                           const secagg::RoundResult& result) const;
  [[nodiscard]] KeptTraining Kept() const;
  [[nodiscard]] absl::Status KeepForLater() const;
  void Show(const char* state, const std::string& detail);

  const RoundParts& parts_;
  WorkFolder work_;
  CheckedTask task_;
};

}  // namespace choir::node

#endif  // CHOIR_NODE_TASK_ROUND_RUNNER_H_
