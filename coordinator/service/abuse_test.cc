// A flood of changed, foreign, misdirected and old messages beside honest nodes: the rounds go on,
// their sums stay exact, and nothing grows. CHOIR_ABUSE_MESSAGES=1000000 sends so many.
#include <cstdlib>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/process_memory.h"
#include "coordinator/service/run_plan.h"
#include "coordinator/service/test_coordinator.h"
#include "coordinator/service/test_direct_calls.h"
#include "engine/lora/factors.h"

namespace choir::coordinator {
namespace {

constexpr uint64_t kHonest = 4;
constexpr uint32_t kRounds = 3;

using Call = std::variant<v1::SessionMessage, v1::MaskedInputChunk, v1::JoinCohortRequest,
                          v1::PollSessionRequest>;

// Sends what nodes have sent, changed or not, from whom it may not come.
class Attacker {
 public:
  Attacker(Coordinator& coordinator, std::vector<NodeId> senders, uint64_t seed)
      : coordinator_(coordinator), senders_(std::move(senders)), rng_(seed) {}

  void Learn(Call call) { known_.push_back(std::move(call)); }

  void Send() {
    if (known_.empty()) return;
    Call call = known_[rng_.NextBelow(known_.size())];
    // Three in four are changed; the others are replays, most of them of another round or node.
    if (rng_.NextBelow(4) != 0) Change(call);
    const NodeId& from = senders_[rng_.NextBelow(senders_.size())];
    const absl::Status status = std::visit([&](const auto& c) { return Make(from, c); }, call);
    ++(status.ok() ? answered_ : refused_);
  }

  [[nodiscard]] uint64_t sent() const { return answered_ + refused_; }
  [[nodiscard]] uint64_t refused() const { return refused_; }

 private:
  absl::Status Make(const NodeId& from, const v1::SessionMessage& message) {
    return coordinator_.TakeMessage(from, message);
  }
  absl::Status Make(const NodeId& from, const v1::MaskedInputChunk& message) {
    return coordinator_.TakeUpload(from, message).status();
  }
  absl::Status Make(const NodeId& from, const v1::JoinCohortRequest& request) {
    return coordinator_.Join(from, request).status();
  }
  absl::Status Make(const NodeId& from, const v1::PollSessionRequest& request) {
    return coordinator_.Poll(from, request).status();
  }

  void Change(Call& call) {
    if (auto* message = std::get_if<v1::SessionMessage>(&call)) {
      if (rng_.NextBelow(8) == 0) message->set_kind(static_cast<uint32_t>(rng_.NextBelow(20)));
      Change(rng_.NextBelow(8) == 0 ? *message->mutable_session_id() : *message->mutable_body());
    } else if (auto* chunk = std::get_if<v1::MaskedInputChunk>(&call)) {
      Change(rng_.NextBelow(8) == 0 ? *chunk->mutable_session_id() : *chunk->mutable_body());
    } else if (auto* join = std::get_if<v1::JoinCohortRequest>(&call)) {
      Change(*join->mutable_lease_id());
    } else {
      Change(*std::get<v1::PollSessionRequest>(call).mutable_session_id());
    }
  }
  // Flips, cuts, repeats, or writes a huge number where a length may be.
  void Change(std::string& bytes) {
    if (bytes.empty()) bytes = "x";
    const size_t at = rng_.NextBelow(bytes.size());
    switch (rng_.NextBelow(4)) {
      case 0:
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << rng_.NextBelow(8)));
        break;
      case 1:
        bytes.resize(at);
        break;
      case 2:
        bytes += bytes.substr(at);
        bytes += 'x';
        break;
      default:
        bytes.replace(at, 4, "\xff\xff\xff\xff");
        break;
    }
  }

  Coordinator& coordinator_;
  const std::vector<NodeId> senders_;
  SeededRng rng_;
  std::vector<Call> known_;
  uint64_t answered_ = 0;
  uint64_t refused_ = 0;
};

// An honest node's calls, each with so many of the attacker's before it.
class AttackedCalls final : public NodeCalls {
 public:
  AttackedCalls(Coordinator& coordinator, const NodeId& id, Attacker& attacker, uint64_t each)
      : calls_(coordinator, id), attacker_(attacker), each_(each) {}
  absl::StatusOr<v1::CheckInResponse> CheckIn() override { return calls_.CheckIn(); }
  absl::StatusOr<std::optional<std::string>> Join(const v1::JoinCohortRequest& request) override {
    Attack(request);
    return calls_.Join(request);
  }
  absl::StatusOr<std::optional<v1::SessionBroadcast>> Poll(
      const v1::PollSessionRequest& request) override {
    Attack(request);
    return calls_.Poll(request);
  }
  absl::Status Send(const v1::SessionMessage& message) override {
    Attack(message);
    return calls_.Send(message);
  }
  absl::StatusOr<v1::UploadAck> Upload(const std::vector<v1::MaskedInputChunk>& stream) override {
    for (const v1::MaskedInputChunk& message : stream) Attack(message);
    return calls_.Upload(stream);
  }

 private:
  // What this call sends is known to the attacker once it is sent.
  void Attack(Call call) {
    for (uint64_t i = 0; i < each_; ++i) attacker_.Send();
    attacker_.Learn(std::move(call));
  }
  DirectCalls calls_;
  Attacker& attacker_;
  const uint64_t each_;
};

class AbuseTest : public testing::Test {
 protected:
  AbuseTest() {
    coordinator_.AddNodes(kHonest + 1);  // the last one only lends its name
    EXPECT_TRUE(coordinator_->StartRun(TestRun(coordinator_.blobs(), "fedavg", kRounds)).ok());
  }
  v1::RunStatus Status() { return coordinator_->GetRun("demo").value(); }
  // One turn of all honest nodes.
  void Turn(Attacker& attacker, uint64_t each) {
    for (uint64_t i = 0; i < kHonest; ++i) {
      TestNode& node = *coordinator_.nodes()[i];
      AttackedCalls calls(*coordinator_, node.id(), attacker, each);
      const absl::StatusOr<bool> moved = node.Step(calls, coordinator_.now());
      ASSERT_TRUE(moved.ok()) << moved.status();
      while (coordinator_->DoWork()) {
      }
    }
    coordinator_.Advance(absl::Milliseconds(100));
    coordinator_->Tick();
  }
  // The parent and the mean of the honest nodes' deltas, round after round.
  void ExpectExactAdapter() {
    const Digest digest = DigestFrom(Status().adapter_digest(), "adapter").value();
    const std::vector<float> got = engine::FlattenFactors(
        ReadAdapterBlob(coordinator_.blobs(), digest).value(), engine::TrainedFactors::kBoth);
    const std::vector<float> start =
        engine::FlattenFactors(TestAdapter(), engine::TrainedFactors::kBoth);
    for (size_t i = 0; i < got.size(); ++i) {
      float want = start[i];
      for (uint64_t v = 0; v < kRounds; ++v) {
        for (uint64_t node = 0; node < kHonest; ++node) {
          want += TestNode::Delta(node, v, i) / kHonest;
        }
      }
      EXPECT_NEAR(got[i], want, 6e-5f) << i;  // as in coordinator_test.cc, for three rounds
    }
  }

  TestCoordinator coordinator_;
};

TEST_F(AbuseTest, FloodOfBadMessagesChangesNoSumAndLeavesNothingBehind) {
  const char* wanted = std::getenv("CHOIR_ABUSE_MESSAGES");
  const uint64_t total = wanted == nullptr ? 20'000 : std::strtoull(wanted, nullptr, 10);
  std::vector<NodeId> senders;
  for (const auto& node : coordinator_.nodes()) senders.push_back(node->id());
  senders.push_back(std::string(32, 'x'));
  Attacker attacker(*coordinator_, senders, 14);
  // A node makes some 16 calls in a round.
  const uint64_t each = total / (kRounds * kHonest * 16) + 1;
  uint64_t before = 0;
  for (int turn = 0; turn < 2000 && Status().state() == "running"; ++turn) {
    const uint64_t round = Status().adapter_version();
    Turn(attacker, each);
    ASSERT_FALSE(HasFailure());
    if (round == 0 && Status().adapter_version() == 1) before = ResidentBytes();
  }
  const v1::RunStatus status = Status();
  EXPECT_EQ(status.state(), "finished");
  ASSERT_EQ(status.rounds_size(), static_cast<int>(kRounds));
  ExpectExactAdapter();
  for (const v1::RoundStatus& round : status.rounds()) EXPECT_EQ(round.contributors(), kHonest);
  for (uint64_t i = 0; i < kHonest; ++i) {
    EXPECT_THAT(coordinator_.nodes()[i]->aborted(), testing::IsEmpty());
  }
  EXPECT_GT(attacker.sent(), total / 2);
  EXPECT_GT(attacker.refused(), attacker.sent() / 2);
#ifndef __SANITIZE_ADDRESS__
  // 5 % of a large process; of this small one, what the allocator may keep.
  EXPECT_LT(ResidentBytes(), before + before / 20 + (16 << 20));
#endif
  if (wanted != nullptr) {
    fmt::print("{} messages, {} refused; resident {} -> {} MiB\n", attacker.sent(),
               attacker.refused(), before >> 20, ResidentBytes() >> 20);
  }
}

}  // namespace
}  // namespace choir::coordinator
