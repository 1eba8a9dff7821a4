#ifndef CHOIR_COORDINATOR_ROUND_ROUND_STATE_H_
#define CHOIR_COORDINATOR_ROUND_ROUND_STATE_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"

// What a round of a run is made of: who takes part and how far each has come. Plain values; the
// rules are in round_machine.h.
namespace choir::coordinator {

// SHA-256 of the device key, 32 raw bytes.
using NodeId = std::string;

enum class Phase : uint8_t {
  kSelecting = 1,    // gives out tasks
  kTraining = 2,     // enough tasks are out; replaces nodes that drop out
  kAggregating = 3,  // all cohorts are formed; nobody can join any more
  kMerging = 4,      // all sums are there
  kPublished = 5,
  kAbandoned = 6,
};
// "selecting", "training", ...
std::string_view PhaseName(Phase phase);

// The rules of a run's rounds; from its signed RunConfig, so it never changes within a run.
struct RoundPolicy {
  uint32_t min_cohort = 3;
  uint32_t target_cohort = 8;
  uint32_t max_cohort = 128;
  uint32_t cohorts = 1;
  double over_selection = 0.0;
  absl::Duration select_wait;
  absl::Duration lease;  // how long a node may make no progress
  absl::Duration cohort_wait;
  // A cohort that failed before any masked input left a node runs again with new keys, this often.
  uint32_t max_reruns = 3;
  // A round that could only dissolve its cohort this often, with nobody training, is abandoned.
  uint32_t max_dissolved = 3;

  // Tasks that are given out while selecting: target * cohorts * (1 + over_selection).
  [[nodiscard]] uint32_t Selection(uint32_t free_cohorts) const;
};

enum class MemberState : uint8_t {
  kTraining = 1,
  kReady = 2,     // its delta is done; waits for a cohort
  kInCohort = 3,  // its session runs
  kSpent = 4,     // a masked input left it: its delta may never be used again
  kGone = 5,      // lease over, gave up, or not needed
};

struct Member {
  MemberState state = MemberState::kTraining;
  std::string lease_id;
  absl::Time lease_until;
  absl::Time since;  // of the state
  uint32_t steps_done = 0;
  uint32_t steps_total = 0;
  uint32_t cohort = 0;  // index; in kInCohort
  // It lost a place without a delta and has shown no progress since: the round does not wait for
  // it.
  bool stalled = false;
  friend bool operator==(const Member&, const Member&) = default;
};

enum class CohortState : uint8_t { kRunning = 1, kSummed = 2, kFailed = 3 };

struct Cohort {
  CohortState state = CohortState::kRunning;
  std::vector<NodeId> members;  // sorted
  uint32_t contributors = 0;    // of a sum
  std::string reason;           // of a failure: a reason code's name
  friend bool operator==(const Cohort&, const Cohort&) = default;
};

struct RoundState {
  uint64_t round = 1;
  Phase phase = Phase::kSelecting;
  absl::Time started;
  absl::Time ended = absl::InfiniteFuture();
  absl::Time first_selected = absl::InfiniteFuture();
  // When the nodes that are ready become a cohort, or are too few for one.
  absl::Time cohort_deadline = absl::InfiniteFuture();
  uint32_t dissolved = 0;
  uint32_t reruns = 0;
  std::string reason;       // of kAbandoned: a reason code's name
  std::string reason_text;  // for people
  std::map<NodeId, Member> members;
  std::vector<Cohort> cohorts;

  [[nodiscard]] uint32_t Count(MemberState state) const;
  [[nodiscard]] uint32_t Count(CohortState state) const;
  // Members in training that are worth waiting for: not stalled.
  [[nodiscard]] uint32_t Awaited() const;
  // Cohorts that are running or summed.
  [[nodiscard]] uint32_t LiveCohorts() const;
  [[nodiscard]] bool ended_already() const {
    return phase == Phase::kPublished || phase == Phase::kAbandoned;
  }
  friend bool operator==(const RoundState&, const RoundState&) = default;
};

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_ROUND_ROUND_STATE_H_
