#ifndef CHOIR_NODE_TASK_SESSION_DRIVER_H_
#define CHOIR_NODE_TASK_SESSION_DRIVER_H_

// Takes one node through one secure-aggregation session: carries messages between the pure
// ClientSession and the coordinator, and makes the journal durable before each of them leaves.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "node/task/coordinator_client.h"
#include "node/task/work_folder.h"
#include "secure-agg/client/client_session.h"
#include "secure-agg/core/codec.h"

namespace choir::node {

struct SessionOutcome {
  bool in_the_sum = false;   // this node answered to the end
  bool input_spent = false;  // the delta must not be sent again
  absl::Status ended;        // OK, or why the session ended early (ReasonOf tells the code)
};

class SessionDriver {
 public:
  // Called with the input's header after the journal is written, and before anything of the input
  // leaves; an error keeps it here. Perhaps twice for one session.
  using BeforeInput =
      std::function<absl::Status(const secagg::ClientSession&, const secagg::MaskedInputHeader&)>;

  // All outlive the driver. `values` must give the same numbers each time, also after a restart.
  // `threads` may mask at once; 0: one a core. `sleep` waits before another try, and returns false
  // when the daemon is to stop.
  SessionDriver(CoordinatorClient& client, const WorkFolder& work,
                const secagg::ClientValues& values, size_t threads,
                std::function<bool(absl::Duration)> sleep, BeforeInput before_input);

  // Runs the session to its end, however it ends. CANCELLED: the daemon is to stop, and a restart
  // resumes. Any other error is local (a full disk, ...): the session can be resumed when it is
  // mended.
  absl::StatusOr<SessionOutcome> Run(secagg::ClientSession session);

 private:
  using Handler = absl::StatusOr<secagg::Step> (secagg::ClientSession::*)(std::span<const uint8_t>);

  absl::Status Advance(secagg::ClientSession& session);
  absl::Status WaitAndHandle(secagg::ClientSession& session, uint32_t after_stage, Handler handler);
  absl::Status Upload(secagg::ClientSession& session);
  // Persists the journal of `step`, then sends its message until it is acknowledged.
  absl::Status Emit(secagg::ClientSession& session, absl::StatusOr<secagg::Step> step);
  // Repeats `attempt` while it fails in passing. CANCELLED when the daemon is to stop.
  absl::Status Persist(const std::function<absl::Status()>& attempt) const;

  CoordinatorClient& client_;
  const WorkFolder& work_;
  const secagg::ClientValues& values_;
  size_t threads_;
  std::function<bool(absl::Duration)> sleep_;
  BeforeInput before_input_;
  std::string session_id_;
};

}  // namespace choir::node

#endif  // CHOIR_NODE_TASK_SESSION_DRIVER_H_
