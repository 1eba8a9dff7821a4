#include <string>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/round/pacing.h"
#include "coordinator/round/round_codec.h"
#include "coordinator/round/round_machine.h"
#include "coordinator/round/round_state.pb.h"

namespace choir::coordinator {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

NodeId Node(int i) {
  return fmt::format("node-{:02}", i);
}
std::string Lease(int i) {
  return fmt::format("lease-{:02}", i);
}

class RoundTest : public testing::Test {
 protected:
  RoundTest() {
    policy_.min_cohort = 3;
    policy_.target_cohort = 4;
    policy_.max_cohort = 8;
    policy_.over_selection = 0.5;
    policy_.select_wait = absl::Seconds(10);
    policy_.lease = absl::Seconds(60);
    policy_.cohort_wait = absl::Seconds(20);
    state_ = StartRound(7, now_);
  }

  absl::Status Do(const Event& event) {
    Outcome out = Apply(state_, policy_, event, now_);
    state_ = std::move(out.state);
    effects_ = std::move(out.effects);
    return out.answer;
  }
  void Wait(absl::Duration time) {
    now_ += time;
    EXPECT_TRUE(Do(Tick{}).ok());
  }
  void Train(int from, int to) {
    for (int i = from; i < to; ++i) EXPECT_TRUE(Do(CheckIn{Node(i), Lease(i)}).ok()) << i;
  }
  void MakeReady(int from, int to) {
    for (int i = from; i < to; ++i) EXPECT_TRUE(Do(Ready{Node(i), Lease(i)}).ok()) << i;
  }
  std::vector<NodeId> Nodes(int from, int to) {
    std::vector<NodeId> out;
    for (int i = from; i < to; ++i) out.push_back(Node(i));
    return out;
  }

  RoundPolicy policy_;
  absl::Time now_ = absl::FromUnixSeconds(1'800'000'000);
  RoundState state_;
  std::vector<Effect> effects_;
};

TEST_F(RoundTest, SelectsTargetWithOverSelectionAndNoMore) {
  Train(0, 6);
  EXPECT_EQ(state_.phase, Phase::kTraining);
  EXPECT_EQ(Do(CheckIn{Node(6), Lease(6)}).code(), absl::StatusCode::kUnavailable);
}

TEST_F(RoundTest, RepeatedCheckInKeepsTheLease) {
  Train(0, 1);
  ASSERT_TRUE(Do(CheckIn{Node(0), "another"}).ok());
  EXPECT_EQ(state_.members[Node(0)].lease_id, Lease(0));
}

TEST_F(RoundTest, SelectingEndsAfterItsWaitWithTheMinimum) {
  Train(0, 3);
  Wait(absl::Seconds(9));
  EXPECT_EQ(state_.phase, Phase::kSelecting);
  Wait(absl::Seconds(1));
  EXPECT_EQ(state_.phase, Phase::kTraining);
}

TEST_F(RoundTest, TargetReadyFormsTheCohortAndDismissesTheRest) {
  Train(0, 6);
  MakeReady(0, 3);
  EXPECT_THAT(effects_, IsEmpty());
  MakeReady(3, 4);
  EXPECT_THAT(effects_, ElementsAre(Effect(OpenSession{0})));
  EXPECT_EQ(state_.cohorts[0].members, Nodes(0, 4));
  EXPECT_EQ(state_.phase, Phase::kAggregating);
  EXPECT_EQ(Do(Progress{Node(5), Lease(5), 3, 9}).code(), absl::StatusCode::kAborted);
  EXPECT_EQ(Do(Ready{Node(5), Lease(5)}).code(), absl::StatusCode::kAborted);
}

TEST_F(RoundTest, CohortBelowTargetFormsWhenItsWaitIsOver) {
  Train(0, 4);
  MakeReady(0, 3);
  Wait(absl::Seconds(19));
  EXPECT_TRUE(state_.cohorts.empty());
  Wait(absl::Seconds(1));
  ASSERT_EQ(state_.cohorts.size(), 1u);
  EXPECT_EQ(state_.cohorts[0].members, Nodes(0, 3));
}

TEST_F(RoundTest, CohortBelowMinimumDissolvesAndItsMembersWait) {
  Train(0, 4);
  MakeReady(0, 2);
  Wait(absl::Seconds(20));
  EXPECT_EQ(state_.dissolved, 1u);
  EXPECT_EQ(state_.Count(MemberState::kReady), 2u);
  MakeReady(2, 4);
  EXPECT_EQ(state_.cohorts.size(), 1u);
}

TEST_F(RoundTest, HopelessRoundIsAbandonedWithItsReason) {
  Train(0, 2);
  MakeReady(0, 2);
  for (int i = 0; i < 3; ++i) {
    MakeReady(0, 2);
    Wait(absl::Seconds(20));
  }
  EXPECT_EQ(state_.phase, Phase::kAbandoned);
  EXPECT_EQ(state_.reason, "cohort-below-minimum");
}

TEST_F(RoundTest, LeaseEndsWithoutProgressAndThePlaceIsFree) {
  Train(0, 6);
  now_ += absl::Seconds(40);
  for (int i = 1; i < 6; ++i) ASSERT_TRUE(Do(Progress{Node(i), Lease(i), 1, 9}).ok());
  now_ += absl::Seconds(40);
  for (int i = 1; i < 6; ++i) ASSERT_TRUE(Do(Progress{Node(i), Lease(i), 2, 9}).ok());
  EXPECT_EQ(state_.members[Node(0)].state, MemberState::kGone);
  EXPECT_EQ(state_.Count(MemberState::kTraining), 5u);
}

TEST_F(RoundTest, StepsThatDoNotMoveAreNoProgress) {
  Train(0, 3);
  now_ += absl::Seconds(30);
  ASSERT_TRUE(Do(Progress{Node(0), Lease(0), 0, 9}).ok());
  Wait(absl::Seconds(30));
  EXPECT_EQ(state_.members[Node(0)].state, MemberState::kGone);
}

TEST_F(RoundTest, CheckInIsNoProgress) {
  Train(0, 3);
  now_ += absl::Seconds(30);
  ASSERT_TRUE(Do(CheckIn{Node(0), Lease(0)}).ok());
  ASSERT_TRUE(Do(Touched{Node(1)}).ok());
  Wait(absl::Seconds(30));
  EXPECT_EQ(state_.members[Node(0)].state, MemberState::kGone);
  EXPECT_EQ(state_.members[Node(1)].state, MemberState::kTraining);
}

// However often it comes back for a new lease.
TEST_F(RoundTest, NodeThatNeverProgressesDoesNotHoldUpTheOthers) {
  Train(0, 3);
  MakeReady(0, 2);
  for (int i = 0; i < 30 && state_.phase != Phase::kAbandoned; ++i) {
    MakeReady(0, 2);
    (void)Do(CheckIn{Node(2), Lease(2)});
    (void)Do(Progress{Node(2), Lease(2), 0, 9});
    Wait(absl::Seconds(10));
  }
  EXPECT_EQ(state_.phase, Phase::kAbandoned);
  EXPECT_EQ(state_.reason, "cohort-below-minimum");
}

TEST_F(RoundTest, NodeThatProgressesAgainIsWaitedFor) {
  Train(0, 3);
  MakeReady(0, 2);
  Wait(absl::Seconds(60));
  ASSERT_TRUE(Do(CheckIn{Node(2), "again"}).ok());
  EXPECT_EQ(state_.Awaited(), 0u);
  ASSERT_TRUE(Do(Progress{Node(2), "again", 1, 9}).ok());
  EXPECT_EQ(state_.Awaited(), 1u);
}

TEST_F(RoundTest, AfterAFailedCohortNobodyLeftEndsTheRound) {
  Train(0, 5);
  policy_.cohorts = 2;
  MakeReady(0, 4);
  ASSERT_TRUE(Do(CohortFailed{0, Nodes(0, 4), {}, "too-few-survivors", "2 of 3"}).ok());
  EXPECT_EQ(state_.phase, Phase::kTraining);
  ASSERT_TRUE(Do(GiveUp{Node(4), Lease(4)}).ok());
  for (int i = 0; i < 3; ++i) Wait(absl::Seconds(20));
  EXPECT_EQ(state_.phase, Phase::kAbandoned);
}

TEST_F(RoundTest, ForeignLeaseIsRefused) {
  Train(0, 1);
  EXPECT_EQ(Do(Ready{Node(0), Lease(1)}).code(), absl::StatusCode::kAborted);
  EXPECT_EQ(Do(Progress{Node(1), Lease(0), 1, 2}).code(), absl::StatusCode::kAborted);
}

TEST_F(RoundTest, GivingUpFreesThePlace) {
  Train(0, 6);
  ASSERT_TRUE(Do(GiveUp{Node(0), Lease(0)}).ok());
  ASSERT_TRUE(Do(GiveUp{Node(0), Lease(0)}).ok());
  ASSERT_TRUE(Do(GiveUp{Node(1), Lease(1)}).ok());
  ASSERT_TRUE(Do(GiveUp{Node(2), Lease(2)}).ok());
  EXPECT_TRUE(Do(CheckIn{Node(9), Lease(9)}).ok());
  EXPECT_EQ(state_.Count(MemberState::kTraining), 4u);
}

TEST_F(RoundTest, SumLeadsToMergeOnceAndToPublished) {
  Train(0, 4);
  MakeReady(0, 4);
  ASSERT_TRUE(Do(CohortSummed{0, Nodes(0, 3)}).ok());
  EXPECT_THAT(effects_, ElementsAre(Effect(StartMerge{})));
  ASSERT_TRUE(Do(CohortSummed{0, Nodes(0, 3)}).ok());
  EXPECT_THAT(effects_, IsEmpty());
  EXPECT_EQ(state_.members[Node(0)].state, MemberState::kSpent);
  EXPECT_EQ(Do(CheckIn{Node(0), Lease(9)}).code(), absl::StatusCode::kUnavailable);
  ASSERT_TRUE(Do(Merged{}).ok());
  EXPECT_EQ(state_.phase, Phase::kPublished);
  EXPECT_EQ(state_.cohorts[0].contributors, 3u);
}

TEST_F(RoundTest, FailedCohortRunsAgainWithThoseWhoAreLeft) {
  Train(0, 4);
  MakeReady(0, 4);
  ASSERT_TRUE(Do(CohortFailed{0, {}, Nodes(0, 3), "too-few-shareholders", "2 of 3"}).ok());
  EXPECT_THAT(effects_, ElementsAre(Effect(OpenSession{1})));
  EXPECT_EQ(state_.cohorts[1].members, Nodes(0, 3));
}

TEST_F(RoundTest, SpentDeltasNeverRunAgain) {
  Train(0, 4);
  MakeReady(0, 4);
  ASSERT_TRUE(Do(CohortFailed{0, Nodes(0, 2), Nodes(2, 4), "too-few-survivors", "2 of 3"}).ok());
  EXPECT_EQ(state_.phase, Phase::kAbandoned);
  EXPECT_EQ(state_.reason, "too-few-survivors");
}

TEST_F(RoundTest, RerunsAreLimited) {
  Train(0, 4);
  MakeReady(0, 4);
  for (uint32_t i = 0; i < 4; ++i) {
    ASSERT_EQ(state_.phase, Phase::kAggregating);
    ASSERT_TRUE(Do(CohortFailed{i, {}, Nodes(0, 4), "too-few-shareholders", ""}).ok());
  }
  EXPECT_EQ(state_.phase, Phase::kAbandoned);
}

TEST_F(RoundTest, SeveralCohortsMergeTogether) {
  policy_.cohorts = 2;
  Train(0, 12);
  MakeReady(0, 4);
  EXPECT_EQ(state_.phase, Phase::kTraining);
  ASSERT_TRUE(Do(CohortSummed{0, Nodes(0, 4)}).ok());
  EXPECT_THAT(effects_, IsEmpty());
  MakeReady(4, 8);
  EXPECT_EQ(state_.phase, Phase::kAggregating);
  ASSERT_TRUE(Do(CohortSummed{1, Nodes(4, 8)}).ok());
  EXPECT_THAT(effects_, ElementsAre(Effect(StartMerge{})));
}

TEST_F(RoundTest, SecondCohortThatNeverComesDoesNotHoldUpTheFirst) {
  policy_.cohorts = 2;
  Train(0, 5);
  MakeReady(0, 4);
  ASSERT_TRUE(Do(CohortSummed{0, Nodes(0, 4)}).ok());
  ASSERT_TRUE(Do(GiveUp{Node(4), Lease(4)}).ok());
  Wait(absl::Seconds(20));
  EXPECT_THAT(effects_, ElementsAre(Effect(StartMerge{})));
}

TEST_F(RoundTest, StopClosesRunningSessions) {
  Train(0, 4);
  MakeReady(0, 4);
  ASSERT_TRUE(Do(Stop{"cancelled", "by the operator"}).ok());
  EXPECT_THAT(effects_, ElementsAre(Effect(CloseSession{0})));
  EXPECT_EQ(state_.phase, Phase::kAbandoned);
}

TEST_F(RoundTest, EncodingComesBackTheSame) {
  Train(0, 5);
  MakeReady(0, 4);
  const auto back = DecodeRound(EncodeRoundHead(state_), AllParts(state_));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(*back, state_);
}

TEST_F(RoundTest, OnlyWhatATransitionChangedIsWritten) {
  Train(0, 5);
  const RoundState before = state_;
  MakeReady(0, 1);
  const std::vector<RoundPart> changed = ChangedParts(before, state_);
  ASSERT_EQ(changed.size(), 1u);
  EXPECT_EQ(ChangedParts(state_, state_).size(), 0u);
  std::vector<RoundPart> parts = AllParts(before);
  for (RoundPart& part : parts) {
    if (part.key == changed[0].key) part = changed[0];
  }
  EXPECT_EQ(DecodeRound(EncodeRoundHead(state_), parts).value(), state_);
}

TEST_F(RoundTest, MissingAndForeignPartsAreRefused) {
  Train(0, 5);
  MakeReady(0, 4);
  const std::string head = EncodeRoundHead(state_);
  const std::vector<RoundPart> all = AllParts(state_);
  for (size_t i = 0; i < all.size(); ++i) {
    std::vector<RoundPart> parts = all;
    parts.erase(parts.begin() + static_cast<ptrdiff_t>(i));
    EXPECT_EQ(DecodeRound(head, parts).status().code(), absl::StatusCode::kDataLoss) << i;
  }
  std::vector<RoundPart> parts = all;
  for (RoundPart& part : parts) {
    if (part.key == "c0") part.key = "c7";
  }
  EXPECT_EQ(DecodeRound(head, parts).status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(RoundTest, HeadOfTheFirstReleaseHasAllInIt) {
  stored::Round old;
  old.set_format(1);
  old.set_round(7);
  old.set_phase(static_cast<uint32_t>(Phase::kTraining));
  stored::Member& member = *old.add_members();
  member.set_node_id("a node");
  member.set_state(static_cast<uint32_t>(MemberState::kInCohort));
  stored::Cohort& cohort = *old.add_cohorts();
  cohort.set_state(static_cast<uint32_t>(CohortState::kRunning));
  cohort.add_members("a node");
  const auto state = DecodeRound(old.SerializeAsString(), {});
  ASSERT_TRUE(state.ok()) << state.status();
  EXPECT_EQ(state->round, 7u);
  EXPECT_EQ(state->members.at("a node").state, MemberState::kInCohort);
  EXPECT_THAT(state->cohorts.at(0).members, ElementsAre("a node"));
}

TEST_F(RoundTest, DamagedAndNewerEncodingsAreRefused) {
  Train(0, 1);
  const std::string head = EncodeRoundHead(state_);
  const std::vector<RoundPart> parts = AllParts(state_);
  const auto code = [](const std::string& bytes, std::span<const RoundPart> with) {
    return DecodeRound(bytes, with).status().code();
  };
  EXPECT_EQ(code(head.substr(0, head.size() - 1), parts), absl::StatusCode::kDataLoss);
  EXPECT_EQ(code("", parts), absl::StatusCode::kFailedPrecondition);
  stored::Round newer;
  newer.set_format(3);
  EXPECT_EQ(code(newer.SerializeAsString(), parts), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(code(head, std::vector<RoundPart>{{parts[0].key, "\xff"}}),
            absl::StatusCode::kDataLoss);
  state_.phase = static_cast<Phase>(9);
  EXPECT_EQ(code(EncodeRoundHead(state_), parts), absl::StatusCode::kDataLoss);
}

TEST(PacingTest, StaysInItsBoundsAndSpreads) {
  EXPECT_EQ(ComeBackAfter({0, absl::ZeroDuration()}, 0.5), absl::Seconds(1));
  EXPECT_EQ(ComeBackAfter({500, absl::ZeroDuration()}, 0.5), absl::Seconds(10));
  EXPECT_EQ(ComeBackAfter({0, absl::Seconds(80)}, 0.0), absl::Seconds(5));
  EXPECT_EQ(ComeBackAfter({uint64_t{1} << 40, absl::ZeroDuration()}, 0.5), absl::Minutes(5));
}

}  // namespace
}  // namespace choir::coordinator
