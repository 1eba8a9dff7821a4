// Longer stories of a node that lies, over gRPC.
#include <algorithm>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "coordinator/service/run_actor.h"
#include "coordinator/service/test_liars.h"

namespace choir::coordinator {
namespace {

TEST_F(LiarTest, HolderOfWrongSharesIsNamed) {
  Start(1);
  liar_->lies.answer = [](secagg::UnmaskShares& answer) {
    for (secagg::UnmaskShare& share : answer.shares) share.share[3] ^= 1;
  };
  std::vector<std::string> honest;
  Play();
  EXPECT_EQ(ExactContributors(1).size(), 4u);
  for (size_t i = 0; i < kLiar; ++i) honest.push_back(nodes_[i]->id());
  // Its wrong shares show if they are among the first three, by node id.
  if (std::ranges::count_if(honest, [&](const auto& id) { return id < nodes_[kLiar]->id(); }) < 3) {
    EXPECT_TRUE(NamedLiar(nodes_[kLiar]->id()));
  }
}

// It would end every session that it is let into.
TEST_F(LiarTest, DealerOfGarbageIsNamedAndGetsNoMoreWork) {
  Start(1);
  liar_->lies.in_every_session = true;
  liar_->lies.shares = [](secagg::ShareKeys& shares) {
    for (secagg::SealedShare& share : shares.shares) share.sealed.fill(0x5a);
  };
  Play();
  const v1::RunStatus status = Status();
  ASSERT_EQ(status.rounds_size(), 2);
  EXPECT_THAT(status.rounds(0).reason_text(),
              testing::HasSubstr("lied about shares: " + ShortId(nodes_[kLiar]->id())));
  EXPECT_THAT(ExactContributors(1), testing::ElementsAre(0, 1, 2));
}

// The first round's input again in the second round: under its own name, and under the new one.
TEST_F(LiarTest, ReplayOfAnEarlierRoundIsRefused) {
  Start(2);
  std::vector<v1::MaskedInputChunk> earlier;
  Play([&] {
    if (nodes_[kLiar]->results().size() != 1 || liar_->told() || !earlier.empty()) return;
    earlier = liar_->sent_input();
    liar_->lies.stream = [&](std::vector<v1::MaskedInputChunk>& stream) {
      const absl::Status old = liar_->plain().Upload(earlier).status();
      EXPECT_EQ(NameOf(old), "session-over");
      const std::string session = stream[0].session_id();
      stream = earlier;
      for (v1::MaskedInputChunk& message : stream) message.set_session_id(session);
    };
  });
  ASSERT_EQ(liar_->refusals().size(), 1u);
  EXPECT_EQ(NameOf(liar_->refusals()[0]), "foreign-session");
  EXPECT_EQ(ExactContributors(2).size(), 4u);
}

// An enrolled node that is not of the cohort knows the session's id, and gets nothing by it.
TEST_F(LiarTest, OutsiderOfACohortIsRefused) {
  Start(1);
  TestNode outsider(9, federation_id_, random_);
  const auto calls = Enrol(outsider);
  bool asked = false;
  liar_->lies.stream = [&](std::vector<v1::MaskedInputChunk>& stream) {
    asked = true;
    v1::PollSessionRequest poll;
    poll.set_session_id(liar_->session_id());
    EXPECT_EQ(NameOf(calls->Poll(poll).status()), "unknown-member");
    EXPECT_EQ(NameOf(calls->Upload(stream).status()), "unknown-member");
    v1::SessionMessage message;
    message.set_session_id(liar_->session_id());
    message.set_kind(2);
    EXPECT_EQ(NameOf(calls->Send(message)), "unknown-member");
  };
  Play();
  EXPECT_TRUE(asked);
  EXPECT_EQ(ExactContributors(1).size(), 4u);
}

// Joining again is the same join; a place that was never given is nobody's.
TEST_F(LiarTest, JoiningTwiceIsJoiningOnce) {
  Start(1);
  liar_->lies.raw_kind = 2;
  liar_->lies.raw = [&](v1::SessionMessage&) {
    v1::JoinCohortRequest again = *liar_->joined();
    const auto config = liar_->plain().Join(again);
    ASSERT_TRUE(config.ok() && config->has_value()) << config.status();
    const auto decoded = secagg::DecodeSessionConfig(AsBytes(**config)).value();
    EXPECT_EQ(AsChars(decoded.session_id), liar_->session_id());
    again.set_lease_id("another");
    EXPECT_FALSE(liar_->plain().Join(again).ok());
    again = *liar_->joined();
    again.set_round(again.round() + 1);
    EXPECT_TRUE(absl::IsAborted(liar_->plain().Join(again).status()));
    again.set_run_id("no such run");
    EXPECT_TRUE(absl::IsNotFound(liar_->plain().Join(again).status()));
  };
  Play();
  EXPECT_TRUE(liar_->told());
  EXPECT_EQ(ExactContributors(1).size(), 4u);
}

// More than a message may hold, and more calls than a device may make: refused, while the others'
// round goes on.
TEST_F(LiarTest, MoreThanItsShareIsRefused) {
  Start(1);
  liar_->lies.raw_kind = 2;
  liar_->lies.raw = [&](v1::SessionMessage& message) {
    v1::SessionMessage large = message;
    large.set_body(std::string(size_t{5} << 20, 'x'));
    EXPECT_TRUE(absl::IsResourceExhausted(liar_->plain().Send(large)));
    bool stopped = false;
    for (int call = 0; call < 2000 && !stopped; ++call) {
      stopped = absl::IsResourceExhausted(liar_->plain().CheckIn().status());
    }
    EXPECT_TRUE(stopped);
  };
  Play();
  const std::vector<uint64_t> contributors = ExactContributors(1);
  EXPECT_THAT(contributors, testing::Contains(0));
  EXPECT_GE(contributors.size(), 3u);
}

}  // namespace
}  // namespace choir::coordinator
