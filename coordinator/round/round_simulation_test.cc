// Simulated rounds with a virtual clock: nodes that die, come back, repeat themselves and speak out
// of turn; sessions that fail; a coordinator that restarts. The rules must hold after every event.
#include <algorithm>
#include <map>
#include <set>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/random.h"
#include "coordinator/round/round_codec.h"
#include "coordinator/round/round_machine.h"

namespace choir::coordinator {
namespace {

struct Running {
  uint32_t cohort;
  absl::Time done;
};

class Simulation {
 public:
  explicit Simulation(uint64_t seed) : rng_(seed) {
    policy_.min_cohort = 3 + Below(3);
    policy_.target_cohort = policy_.min_cohort + Below(5);
    policy_.max_cohort = policy_.target_cohort + Below(4);
    policy_.cohorts = 1 + Below(3);
    policy_.over_selection = rng_.NextUnit();
    policy_.select_wait = absl::Seconds(5 + Below(20));
    policy_.lease = absl::Seconds(20 + Below(40));
    policy_.cohort_wait = absl::Seconds(5 + Below(30));
    num_nodes_ = policy_.Selection(policy_.cohorts) + Below(10);
    drop_ = rng_.NextUnit() * 0.2;
    state_ = StartRound(1, now_);
    Keep(state_);
  }

  // Runs to the end of the round, or fails.
  void Run() {
    const absl::Time limit = now_ + absl::Hours(4);
    while (!state_.ended_already() && now_ < limit && !testing::Test::HasFailure()) {
      RandomEvent();
      Advance();
    }
    ASSERT_TRUE(state_.ended_already()) << "still " << PhaseName(state_.phase);
    EXPECT_EQ(merges_, state_.phase == Phase::kPublished ? 1 : merges_);
    EXPECT_LE(merges_, 1);
    if (state_.phase == Phase::kAbandoned) {
      EXPECT_FALSE(state_.reason.empty());
    }
  }
  [[nodiscard]] Phase phase() const { return state_.phase; }

 private:
  uint32_t Below(uint32_t bound) { return static_cast<uint32_t>(rng_.NextBelow(bound)); }
  bool Chance(double p) { return rng_.NextUnit() < p; }

  void Do(const Event& event) {
    if (Chance(0.02)) Restart();
    Outcome out = Apply(state_, policy_, event, now_);
    const RoundState before = state_;
    state_ = out.state;
    if (out.durable) {
      Keep(before);
    } else {
      EXPECT_EQ(WithoutLeases(before), WithoutLeases(state_));
    }
    for (const Effect& effect : out.effects) Carry(effect);
    CheckInvariants();
    const Outcome repeated = Apply(state_, policy_, event, now_);
    EXPECT_TRUE(repeated.effects.empty()) << "a repeated event had an effect";
    EXPECT_EQ(repeated.state, state_) << "a repeated event changed the state";
  }

  // What need not be durable: leases and how far a node says it is.
  static RoundState WithoutLeases(RoundState state) {
    for (auto& [id, member] : state.members) {
      member.lease_until = absl::InfiniteFuture();
      member.steps_done = member.steps_total = 0;
    }
    return state;
  }

  // As a store does it: what the transition changed.
  void Keep(const RoundState& before) {
    head_ = EncodeRoundHead(state_);
    for (RoundPart& part : ChangedParts(before, state_)) {
      parts_[part.key] = std::move(part.value);
    }
  }

  void Restart() {
    std::vector<RoundPart> parts;
    for (const auto& [key, value] : parts_) parts.push_back({key, value});
    auto back = DecodeRound(head_, parts);
    ASSERT_TRUE(back.ok()) << back.status();
    back = Rearm(*std::move(back), policy_, now_);
    ASSERT_EQ(WithoutLeases(*back), WithoutLeases(Rearm(state_, policy_, now_)));
    state_ = *std::move(back);
  }

  void Carry(const Effect& effect) {
    if (const auto* open = std::get_if<OpenSession>(&effect)) {
      running_.push_back({open->cohort, now_ + absl::Seconds(1 + Below(30))});
    } else if (const auto* close = std::get_if<CloseSession>(&effect)) {
      std::erase_if(running_, [&](const Running& r) { return r.cohort == close->cohort; });
    } else {
      ++merges_;
      merge_at_ = now_ + absl::Seconds(Below(5));
    }
  }

  void RandomEvent() {
    const NodeId node = fmt::format("n{:03}", Below(num_nodes_));
    const auto it = state_.members.find(node);
    if (it == state_.members.end() || Chance(0.05)) {
      Do(CheckIn{node, fmt::format("lease{}", ++leases_)});
      return;
    }
    const std::string lease = Chance(0.02) ? "wrong" : it->second.lease_id;
    const double what = rng_.NextUnit();
    if (what < drop_ * 0.2) {
      Do(GiveUp{node, lease});
    } else if (what < 0.4) {
      Do(Progress{node, lease, it->second.steps_done + Below(3), 20});
    } else if (what < 0.7) {
      Do(Ready{node, lease});
    } else if (what < 0.8) {
      Do(CheckIn{node, fmt::format("lease{}", ++leases_)});
    } else {
      Do(Touched{node});
    }
  }

  void Advance() {
    now_ += absl::Milliseconds(Below(2000));
    if (Chance(0.01)) now_ += policy_.lease;  // a pause: everybody sleeps
    Do(Tick{});
    for (const Running& r : std::vector<Running>(running_)) {
      if (r.done <= now_) FinishSession(r.cohort);
    }
    if (state_.phase == Phase::kMerging && merge_at_ <= now_) {
      Do(Chance(0.05) ? Event(MergeFailed{"sum-out-of-bound", "test"}) : Event(Merged{}));
    }
  }

  void FinishSession(uint32_t cohort) {
    std::erase_if(running_, [&](const Running& r) { return r.cohort == cohort; });
    std::vector<NodeId> in;
    std::vector<NodeId> out;
    for (const NodeId& node : state_.cohorts[cohort].members) {
      (Chance(drop_) ? out : in).push_back(node);
    }
    if (in.size() >= policy_.min_cohort) {
      for (const NodeId& node : in) EXPECT_TRUE(spent_.insert(node).second) << "counted twice";
      Do(CohortSummed{cohort, in});
    } else if (Chance(0.5)) {
      Do(CohortFailed{cohort, {}, in, "too-few-shareholders", "test"});
    } else {
      for (const NodeId& node : in) spent_.insert(node);
      Do(CohortFailed{cohort, in, {}, "too-few-survivors", "test"});
    }
  }

  void CheckInvariants() {
    std::map<NodeId, uint32_t> in_cohort;
    for (uint32_t i = 0; i < state_.cohorts.size(); ++i) {
      const Cohort& cohort = state_.cohorts[i];
      EXPECT_GE(cohort.members.size(), policy_.min_cohort);
      EXPECT_LE(cohort.members.size(), policy_.max_cohort);
      EXPECT_TRUE(std::is_sorted(cohort.members.begin(), cohort.members.end()));
      if (cohort.state != CohortState::kRunning) continue;
      for (const NodeId& node : cohort.members) {
        EXPECT_TRUE(in_cohort.emplace(node, i).second) << "a node in two sessions";
        EXPECT_FALSE(spent_.contains(node)) << "a spent delta in a session";
      }
    }
    for (const auto& [id, member] : state_.members) {
      const auto it = in_cohort.find(id);
      EXPECT_EQ(member.state == MemberState::kInCohort, it != in_cohort.end());
      if (it != in_cohort.end()) {
        EXPECT_EQ(member.cohort, it->second);
      }
    }
    EXPECT_LE(state_.LiveCohorts(), policy_.cohorts);
    if (!state_.ended_already()) {
      EXPECT_EQ(running_.size(), state_.Count(CohortState::kRunning));
    }
  }

  SeededRng rng_;
  RoundPolicy policy_;
  absl::Time now_ = absl::FromUnixSeconds(1'800'000'000);
  absl::Time merge_at_ = absl::InfinitePast();
  RoundState state_;
  std::string head_;
  std::map<std::string, std::string> parts_;
  std::vector<Running> running_;
  std::set<NodeId> spent_;
  uint32_t num_nodes_ = 0;
  uint32_t leases_ = 0;
  int merges_ = 0;
  double drop_ = 0;
};

TEST(RoundSimulationTest, RulesHoldInEveryRound) {
  int published = 0;
  constexpr int kRounds = 400;
  for (uint64_t seed = 1; seed <= kRounds; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    Simulation simulation(seed);
    simulation.Run();
    if (HasFailure()) return;
    published += simulation.phase() == Phase::kPublished ? 1 : 0;
  }
  // Most survive up to 20 % of losses; a machine that gives up too easily would show here.
  EXPECT_GT(published, kRounds * 8 / 10);
}

}  // namespace
}  // namespace choir::coordinator
