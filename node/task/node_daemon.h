#ifndef CHOIR_NODE_TASK_NODE_DAEMON_H_
#define CHOIR_NODE_TASK_NODE_DAEMON_H_

// choird's main loop: goes on with the work in hand, else checks in for work when the owner's
// policy allows, and keeps adapters, manifest and certificate up to date in between.

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"

#include "base/clock.h"
#include "base/random.h"
#include "node/control/node_status.h"
#include "node/identity/identity.h"
#include "node/policy/owner_policy.h"
#include "node/task/coordinator_client.h"
#include "node/task/model_library.h"
#include "node/task/task_check.h"
#include "node/task/work_folder.h"

namespace choir::node {

class NodeDaemon {
 public:
  struct Parts {
    NodeHome home;
    Identity identity;
    OwnerPolicy policy;
    std::string program;  // path of this executable
    std::string version;
    NodeBoard& board;
    const Clock& clock;
    RandomSource& random;
  };
  explicit NodeDaemon(Parts parts);

  // Until the board asks to stop. DATA_LOSS: a file of the node's is damaged, and only the owner
  // can mend it.
  absl::Status Run();

 private:
  absl::Status Loop();
  absl::Status LookForWork();
  bool Sleep(absl::Duration duration);
  absl::Status AllowedNow();
  absl::Status CheckIn();
  absl::StatusOr<v1::CheckInResponse> AskForTask();
  absl::Status Work(const v1::CheckInResponse::Task& offer);
  void Note(const absl::Status& status);
  void KeepUpToDate(const std::string& run_id);
  void Decline(const CheckedTask& checked, const absl::Status& why);
  void RenewIfDue();
  void Connect();
  void CancelCalls();

  Parts parts_;
  WorkFolder work_;
  absl::Time next_upkeep_ = absl::InfinitePast();
  ModelLibrary models_;
  // The loop's thread replaces it; another one may cancel its calls.
  absl::Mutex client_mu_;
  std::unique_ptr<CoordinatorClient> client_;
};

}  // namespace choir::node

#endif  // CHOIR_NODE_TASK_NODE_DAEMON_H_
