#ifndef CHOIR_COORDINATOR_ROUND_ROUND_MACHINE_H_
#define CHOIR_COORDINATOR_ROUND_ROUND_MACHINE_H_

#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

#include "coordinator/round/round_state.h"

// The rules of a round: Selecting -> Training -> Aggregating -> Merging -> Published, or Abandoned.
//
// Pure: a state, an event and the time in; a state and effects out. The shell around it stores the
// state before it answers anybody, carries out the effects, and comes back with what they led to.
// Every event may arrive twice, late or out of order.
namespace choir::coordinator {

// A node asks for work. `lease_id` is fresh and random; it is used only if the node gets a new one.
// A lease that it holds already does not live longer for it.
struct CheckIn {
  NodeId node;
  std::string lease_id;
};
// The steps moved: the lease lives on.
struct Progress {
  NodeId node;
  std::string lease_id;
  uint32_t steps_done = 0;
  uint32_t steps_total = 0;
};
// A sign of life where there are no steps to report: it downloads.
struct Touched {
  NodeId node;
};
struct GiveUp {
  NodeId node;
  std::string lease_id;
};
// The delta is done; also each time that the node asks again.
struct Ready {
  NodeId node;
  std::string lease_id;
};
struct CohortSummed {
  uint32_t cohort = 0;
  std::vector<NodeId> contributors;
};
// `spent`: masked inputs may have left them. `alive`: unspent, and answered lately.
struct CohortFailed {
  uint32_t cohort = 0;
  std::vector<NodeId> spent;
  std::vector<NodeId> alive;
  std::string reason;
  std::string reason_text;
};
struct Merged {};
struct MergeFailed {
  std::string reason;
  std::string reason_text;
};
// The operator ends the round.
struct Stop {
  std::string reason;
  std::string reason_text;
};
struct Tick {};

using Event = std::variant<CheckIn, Progress, Touched, GiveUp, Ready, CohortSummed, CohortFailed,
                           Merged, MergeFailed, Stop, Tick>;

// Open a secure-aggregation session for state.cohorts[cohort].
struct OpenSession {
  uint32_t cohort = 0;
  friend bool operator==(const OpenSession&, const OpenSession&) = default;
};
// Abort the session of state.cohorts[cohort]: the round has ended.
struct CloseSession {
  uint32_t cohort = 0;
  friend bool operator==(const CloseSession&, const CloseSession&) = default;
};
// Merge the sums of all kSummed cohorts; come back with Merged or MergeFailed.
struct StartMerge {
  friend bool operator==(const StartMerge&, const StartMerge&) = default;
};
using Effect = std::variant<OpenSession, CloseSession, StartMerge>;

struct Outcome {
  RoundState state;
  std::vector<Effect> effects;
  // What to tell the caller. CheckIn: OK means that state.members[node] holds the lease,
  // UNAVAILABLE that there is no place now. Others: ABORTED if the round has gone on without the
  // node, FAILED_PRECONDITION for an event that cannot be.
  absl::Status answer;
  // The state must be durable before the answer: more than a lease's time changed.
  bool durable = false;
};

RoundState StartRound(uint64_t round, absl::Time now);

Outcome Apply(RoundState state, const RoundPolicy& policy, const Event& event, absl::Time now);

// When a Tick will next change something; never, if InfiniteFuture.
absl::Time NextDeadline(const RoundState& state, const RoundPolicy& policy);

// After a restart: nobody could reach the coordinator, so leases and the cohort's wait start anew.
RoundState Rearm(RoundState state, const RoundPolicy& policy, absl::Time now);

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_ROUND_ROUND_MACHINE_H_
