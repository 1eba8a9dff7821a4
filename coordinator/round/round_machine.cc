#include "coordinator/round/round_machine.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace choir::coordinator {
namespace {

// One event's work on one state.
class Machine {
 public:
  Machine(RoundState state, const RoundPolicy& policy, absl::Time now)
      : policy_(policy), now_(now) {
    out_.state = std::move(state);
  }

  Outcome Run(const Event& event) && {
    if (s().ended_already()) {
      out_.answer = WhenEnded(event);
      return std::move(out_);
    }
    ExpireLeases();
    out_.answer = std::visit([this](const auto& e) { return On(e); }, event);
    Settle();
    return std::move(out_);
  }

 private:
  RoundState& s() { return out_.state; }
  [[nodiscard]] bool Collecting() const {
    return out_.state.phase == Phase::kSelecting || out_.state.phase == Phase::kTraining;
  }
  void Changed() { out_.durable = true; }

  absl::Status WhenEnded(const Event& event) {
    if (std::holds_alternative<CheckIn>(event)) {
      return absl::UnavailableError("the round has ended; the next one is about to begin");
    }
    if (std::holds_alternative<Tick>(event) || std::holds_alternative<Touched>(event) ||
        std::holds_alternative<Merged>(event) || std::holds_alternative<Stop>(event)) {
      return absl::OkStatus();
    }
    return absl::AbortedError(fmt::format("round {} is {}", s().round, PhaseName(s().phase)));
  }

  void Move(Member& member, MemberState state) {
    member.state = state;
    member.since = now_;
    Changed();
  }

  void ExpireLeases() {
    for (auto& [id, member] : s().members) {
      const bool waiting =
          member.state == MemberState::kTraining || member.state == MemberState::kReady;
      if (waiting && member.lease_until <= now_) LosePlace(member);
    }
  }

  // Before its delta was done, or after.
  void LosePlace(Member& member) {
    member.stalled = member.stalled || member.state == MemberState::kTraining;
    Move(member, MemberState::kGone);
  }

  // Progress: the lease lives on.
  void Renew(Member& member) {
    member.lease_until = now_ + policy_.lease;
    if (!member.stalled) return;
    member.stalled = false;
    Changed();
  }

  absl::Status On(const CheckIn& e) {
    const auto it = s().members.find(e.node);
    if (it != s().members.end()) {
      // It has a place already. Asking again is no progress: the lease stays as it is.
      if (it->second.state == MemberState::kSpent) {
        return absl::UnavailableError("the node has contributed to this round");
      }
      if (it->second.state != MemberState::kGone) return absl::OkStatus();
    }
    if (absl::Status place = Admits(); !place.ok()) return place;
    Member member;
    member.stalled = it != s().members.end() && it->second.stalled;
    member.lease_id = e.lease_id;
    member.lease_until = now_ + policy_.lease;
    Move(member, MemberState::kTraining);
    s().members[e.node] = std::move(member);
    s().first_selected = std::min(s().first_selected, now_);
    return absl::OkStatus();
  }

  absl::Status Admits() {
    if (!Collecting()) {
      return absl::UnavailableError(fmt::format("round {} is {}", s().round, PhaseName(s().phase)));
    }
    const uint32_t live = s().Count(MemberState::kTraining) + s().Count(MemberState::kReady);
    const uint32_t free_cohorts = policy_.cohorts - std::min(policy_.cohorts, s().LiveCohorts());
    // Over-selection is for the beginning; later only those who dropped out are replaced.
    const uint32_t wanted = s().phase == Phase::kSelecting ? policy_.Selection(free_cohorts)
                                                           : policy_.target_cohort * free_cohorts;
    if (live < wanted) return absl::OkStatus();
    return absl::UnavailableError(
        fmt::format("round {} has the {} nodes it needs", s().round, live));
  }

  // The member that holds this lease; null if there is none.
  Member* Holder(const NodeId& node, const std::string& lease_id) {
    const auto it = s().members.find(node);
    if (it == s().members.end() || it->second.lease_id != lease_id) return nullptr;
    return &it->second;
  }

  absl::Status WithoutYou() {
    return absl::AbortedError(
        fmt::format("round {} has gone on without this node; check in again", s().round));
  }

  absl::Status On(const Progress& e) {
    Member* member = Holder(e.node, e.lease_id);
    if (member == nullptr) return WithoutYou();
    // Late is welcome while there is a place.
    if (member->state == MemberState::kGone && Admits().ok()) {
      Move(*member, MemberState::kTraining);
      member->lease_until = now_ + policy_.lease;
    }
    if (member->state == MemberState::kGone || member->state == MemberState::kSpent) {
      return WithoutYou();
    }
    if (member->state == MemberState::kTraining) {
      // Fewer steps than before are progress too: the worker went back to its checkpoint.
      if (e.steps_done != member->steps_done) Renew(*member);
      member->steps_done = e.steps_done;
      member->steps_total = e.steps_total;
    }
    return absl::OkStatus();
  }

  absl::Status On(const Touched& e) {
    const auto it = s().members.find(e.node);
    if (it != s().members.end() && it->second.state == MemberState::kTraining) Renew(it->second);
    return absl::OkStatus();
  }

  absl::Status On(const GiveUp& e) {
    Member* member = Holder(e.node, e.lease_id);
    if (member == nullptr) return absl::OkStatus();
    if (member->state == MemberState::kTraining || member->state == MemberState::kReady) {
      LosePlace(*member);
    }
    return absl::OkStatus();
  }

  absl::Status On(const Ready& e) {
    Member* member = Holder(e.node, e.lease_id);
    if (member == nullptr) return WithoutYou();
    switch (member->state) {
      case MemberState::kInCohort:
        return absl::OkStatus();
      case MemberState::kSpent:
        return WithoutYou();
      case MemberState::kReady:
        member->lease_until = now_ + policy_.lease;
        return absl::OkStatus();
      case MemberState::kTraining:
      case MemberState::kGone:
        break;
    }
    // A delta that is done is worth more than a place: it is taken beyond the selection, too.
    if (!Collecting()) return WithoutYou();
    Move(*member, MemberState::kReady);
    Renew(*member);
    return absl::OkStatus();
  }

  // Null, with the answer set, unless the cohort is running.
  Cohort* Running(uint32_t index, absl::Status& answer) {
    if (index >= s().cohorts.size()) {
      answer = absl::FailedPreconditionError(fmt::format("round {} has {} cohorts, no number {}",
                                                         s().round, s().cohorts.size(), index));
      return nullptr;
    }
    Cohort& cohort = s().cohorts[index];
    return cohort.state == CohortState::kRunning ? &cohort : nullptr;
  }

  absl::Status On(const CohortSummed& e) {
    absl::Status answer;
    Cohort* cohort = Running(e.cohort, answer);
    if (cohort == nullptr) return answer;
    cohort->state = CohortState::kSummed;
    cohort->contributors = static_cast<uint32_t>(e.contributors.size());
    for (const NodeId& node : cohort->members) Move(s().members[node], MemberState::kGone);
    for (const NodeId& node : e.contributors) Move(s().members[node], MemberState::kSpent);
    return absl::OkStatus();
  }

  absl::Status On(const CohortFailed& e) {
    absl::Status answer;
    Cohort* cohort = Running(e.cohort, answer);
    if (cohort == nullptr) return answer;
    cohort->state = CohortState::kFailed;
    cohort->reason = e.reason;
    for (const NodeId& node : cohort->members) Move(s().members[node], MemberState::kGone);
    for (const NodeId& node : e.alive) {
      Move(s().members[node], MemberState::kReady);
      s().members[node].lease_until = now_ + policy_.lease;
    }
    for (const NodeId& node : e.spent) Move(s().members[node], MemberState::kSpent);
    ++s().reruns;
    AfterFailure(e);
    return absl::OkStatus();
  }

  // Runs again with those who are left, or gives the round up.
  void AfterFailure(const CohortFailed& e) {
    const bool can_rerun =
        s().reruns <= policy_.max_reruns &&
        (s().Awaited() > 0 || s().Count(MemberState::kReady) >= policy_.min_cohort);
    if (can_rerun) {
      s().phase = Phase::kTraining;
      s().cohort_deadline = absl::InfiniteFuture();  // Settle() sets it anew
    } else if (s().LiveCohorts() > 0) {
      StopCollecting();
    } else {
      Abandon(e.reason, e.reason_text);
    }
  }

  absl::Status On(const Merged&) {
    if (s().phase != Phase::kMerging) {
      return absl::FailedPreconditionError(
          fmt::format("round {} is {}, not merging", s().round, PhaseName(s().phase)));
    }
    s().phase = Phase::kPublished;
    s().ended = now_;
    Changed();
    return absl::OkStatus();
  }

  absl::Status On(const MergeFailed& e) {
    Abandon(e.reason, e.reason_text);
    return absl::OkStatus();
  }

  absl::Status On(const Stop& e) {
    Abandon(e.reason, e.reason_text);
    return absl::OkStatus();
  }

  absl::Status On(const Tick&) { return absl::OkStatus(); }

  void Abandon(const std::string& reason, const std::string& text) {
    for (uint32_t i = 0; i < s().cohorts.size(); ++i) {
      if (s().cohorts[i].state == CohortState::kRunning) out_.effects.emplace_back(CloseSession{i});
    }
    s().phase = Phase::kAbandoned;
    s().reason = reason;
    s().reason_text = text;
    s().ended = now_;
    Changed();
  }

  // What follows from the state and the time alone.
  void Settle() {
    if (Collecting()) SettlePhase();
    while (Collecting() && FormOne()) {
    }
    if (Collecting()) SettleDeadline();
    if (s().phase == Phase::kAggregating && s().Count(CohortState::kRunning) == 0) {
      s().phase = Phase::kMerging;
      out_.effects.emplace_back(StartMerge{});
      Changed();
    }
  }

  void SettlePhase() {
    const uint32_t live = s().Count(MemberState::kTraining) + s().Count(MemberState::kReady);
    Phase phase = s().phase;
    if (live == 0 && s().cohorts.empty()) {
      phase = Phase::kSelecting;
      s().first_selected = absl::InfiniteFuture();
    } else if (live >= policy_.Selection(policy_.cohorts) ||
               (live >= policy_.min_cohort && now_ >= s().first_selected + policy_.select_wait)) {
      phase = Phase::kTraining;
    }
    if (phase == s().phase) return;
    s().phase = phase;
    Changed();
  }

  // Forms a cohort if there are nodes and a place for it.
  bool FormOne() {
    const uint32_t ready = s().Count(MemberState::kReady);
    const uint32_t free_cohorts = policy_.cohorts - std::min(policy_.cohorts, s().LiveCohorts());
    if (free_cohorts == 0) {
      StopCollecting();
      return false;
    }
    const bool waited = now_ >= s().cohort_deadline;
    // Of a cohort that failed, those who are left are all there is to wait for.
    const bool rerun = s().reruns > 0 && s().Awaited() == 0;
    const bool enough =
        ready >= policy_.target_cohort || (ready >= policy_.min_cohort && (waited || rerun));
    if (!enough) return false;
    FormCohort(free_cohorts == 1 ? policy_.max_cohort : policy_.target_cohort);
    return true;
  }

  // Of the nodes that are ready, the `limit` that have waited longest.
  void FormCohort(uint32_t limit) {
    std::vector<NodeId> ready;
    for (const auto& [id, member] : s().members) {
      if (member.state == MemberState::kReady) ready.push_back(id);
    }
    std::stable_sort(ready.begin(), ready.end(), [this](const NodeId& a, const NodeId& b) {
      return s().members[a].since < s().members[b].since;
    });
    if (ready.size() > limit) ready.resize(limit);
    std::sort(ready.begin(), ready.end());
    const auto index = static_cast<uint32_t>(s().cohorts.size());
    for (const NodeId& id : ready) {
      Move(s().members[id], MemberState::kInCohort);
      s().members[id].cohort = index;
    }
    s().cohorts.push_back(Cohort{CohortState::kRunning, std::move(ready), 0, {}});
    s().cohort_deadline = absl::InfiniteFuture();
    s().dissolved = 0;
    s().phase = Phase::kTraining;
    out_.effects.emplace_back(OpenSession{index});
  }

  // No further cohort: those who are still busy are not needed.
  void StopCollecting() {
    for (auto& [id, member] : s().members) {
      if (member.state == MemberState::kTraining || member.state == MemberState::kReady) {
        Move(member, MemberState::kGone);
      }
    }
    s().phase = Phase::kAggregating;
    s().cohort_deadline = absl::InfiniteFuture();
    Changed();
  }

  // The wait for a cohort: begins with the first node that is ready, ends with a cohort (FormOne)
  // or with its dissolution. After a cohort there may be nobody left to be ready.
  void SettleDeadline() {
    const uint32_t ready = s().Count(MemberState::kReady);
    if (ready == 0 && s().cohorts.empty()) {
      s().cohort_deadline = absl::InfiniteFuture();
      return;
    }
    if (s().cohort_deadline == absl::InfiniteFuture()) {
      s().cohort_deadline = now_ + policy_.cohort_wait;
      Changed();
    }
    if (now_ < s().cohort_deadline) return;
    Dissolve(ready);
  }

  void Dissolve(uint32_t ready) {
    ++s().dissolved;
    s().cohort_deadline = now_ + policy_.cohort_wait;
    Changed();
    if (s().Awaited() > 0) return;
    if (s().LiveCohorts() > 0) {
      StopCollecting();
    } else if (s().dissolved >= policy_.max_dissolved) {
      Abandon("cohort-below-minimum",
              fmt::format("a cohort needs {} nodes, {} were ready after {} waits of {}",
                          policy_.min_cohort, ready, s().dissolved,
                          absl::FormatDuration(policy_.cohort_wait)));
    }
  }

  const RoundPolicy& policy_;
  absl::Time now_;
  Outcome out_;
};

}  // namespace

RoundState StartRound(uint64_t round, absl::Time now) {
  RoundState state;
  state.round = round;
  state.started = now;
  return state;
}

Outcome Apply(RoundState state, const RoundPolicy& policy, const Event& event, absl::Time now) {
  return Machine(std::move(state), policy, now).Run(event);
}

absl::Time NextDeadline(const RoundState& state, const RoundPolicy& policy) {
  if (state.phase != Phase::kSelecting && state.phase != Phase::kTraining) {
    return absl::InfiniteFuture();
  }
  absl::Time next = state.cohort_deadline;
  const uint32_t live = state.Count(MemberState::kTraining) + state.Count(MemberState::kReady);
  if (state.phase == Phase::kSelecting && live >= policy.min_cohort) {
    next = std::min(next, state.first_selected + policy.select_wait);
  }
  for (const auto& [id, member] : state.members) {
    if (member.state == MemberState::kTraining || member.state == MemberState::kReady) {
      next = std::min(next, member.lease_until);
    }
  }
  return next;
}

RoundState Rearm(RoundState state, const RoundPolicy& policy, absl::Time now) {
  for (auto& [id, member] : state.members) {
    if (member.state == MemberState::kTraining || member.state == MemberState::kReady) {
      member.lease_until = now + policy.lease;
    }
  }
  if (state.cohort_deadline != absl::InfiniteFuture()) {
    state.cohort_deadline = now + policy.cohort_wait;
  }
  return state;
}

}  // namespace choir::coordinator
