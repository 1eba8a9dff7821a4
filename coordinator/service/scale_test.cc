// What the coordinator writes to its store for one message must not grow with the cohort: one round
// with real clients, every commit counted. CHOIR_SCALE_NODES=1000 plays a large one and prints what
// it cost.
#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "coordinator/service/test_coordinator.h"
#include "coordinator/service/test_direct_calls.h"

namespace choir::coordinator {
namespace {

uint64_t BytesOf(const Batch& batch) {
  uint64_t bytes = 0;
  if (batch.run.has_value()) {
    const RunRecord& run = batch.run->record;
    bytes += run.config.size() + run.round.size() + run.privacy.size() + run.reason.size();
  }
  for (const NodeRecord& node : batch.nodes) bytes += node.credential.size();
  for (const SessionRecord& session : batch.sessions) bytes += session.result.size();
  for (const Batch::PieceWrite& write : batch.pieces) {
    for (const PieceRecord& piece : write.pieces) bytes += piece.key.size() + piece.value.size();
  }
  for (const VersionRecord& version : batch.versions) {
    bytes += version.document.size();
    for (const std::string& result : version.results) bytes += result.size();
  }
  for (const RoundRecord& round : batch.rounds) bytes += round.status.size();
  for (const EventRecord& event : batch.events) bytes += event.text.size();
  return bytes;
}

// The commits of one kind of call.
struct Cost {
  uint64_t commits = 0;
  uint64_t bytes = 0;
  uint64_t largest = 0;
  uint64_t received = 0;  // the largest message of them
  absl::Duration time;
};

// Counts what goes into another store.
class CountingStore final : public Store {
 public:
  explicit CountingStore(std::unique_ptr<Store> store) : store_(std::move(store)) {}
  absl::Status Commit(const Batch& batch) override {
    const absl::Time before = absl::Now();
    absl::Status status = store_->Commit(batch);
    Cost& cost = costs[call];
    ++cost.commits;
    cost.bytes += BytesOf(batch);
    cost.largest = std::max(cost.largest, BytesOf(batch));
    cost.time += absl::Now() - before;
    return status;
  }
  absl::StatusOr<std::optional<NodeRecord>> GetNode(std::string_view id) override {
    return store_->GetNode(id);
  }
  absl::StatusOr<std::vector<NodeRecord>> ListNodes() override { return store_->ListNodes(); }
  absl::StatusOr<std::optional<InviteRecord>> GetInvite(const Digest& token_hash) override {
    return store_->GetInvite(token_hash);
  }
  absl::StatusOr<std::vector<StoredRun>> ListRuns() override { return store_->ListRuns(); }
  absl::StatusOr<std::optional<SessionRecord>> GetSession(std::string_view id) override {
    return store_->GetSession(id);
  }
  absl::StatusOr<std::vector<SessionRecord>> ListSessions(std::string_view run_id,
                                                          uint64_t round) override {
    return store_->ListSessions(run_id, round);
  }
  absl::StatusOr<std::vector<PieceRecord>> ListPieces(std::string_view owner) override {
    return store_->ListPieces(owner);
  }
  absl::StatusOr<uint64_t> LastSessionCounter() override { return store_->LastSessionCounter(); }
  absl::StatusOr<std::vector<VersionRecord>> ListVersions(std::string_view run_id, int64_t after,
                                                          uint32_t limit) override {
    return store_->ListVersions(run_id, after, limit);
  }
  absl::StatusOr<std::optional<VersionRecord>> LastVersion(std::string_view run_id) override {
    return store_->LastVersion(run_id);
  }
  absl::StatusOr<std::vector<RoundRecord>> ListRounds(std::string_view run_id,
                                                      uint32_t limit) override {
    return store_->ListRounds(run_id, limit);
  }
  absl::StatusOr<std::vector<EventRecord>> ListEvents(uint32_t limit) override {
    return store_->ListEvents(limit);
  }

  std::string call = "other";
  std::map<std::string, Cost> costs;

 private:
  std::unique_ptr<Store> store_;
};

// Names each call before it is made, and notes how large a message it brings.
class CountedCalls final : public NodeCalls {
 public:
  CountedCalls(Coordinator& coordinator, const std::string& id, CountingStore& store)
      : calls_(coordinator, id), store_(store) {}
  absl::StatusOr<v1::CheckInResponse> CheckIn() override {
    store_.call = "check-in";
    return calls_.CheckIn();
  }
  absl::StatusOr<std::optional<std::string>> Join(const v1::JoinCohortRequest& request) override {
    store_.call = "join";
    return calls_.Join(request);
  }
  absl::StatusOr<std::optional<v1::SessionBroadcast>> Poll(
      const v1::PollSessionRequest& request) override {
    return calls_.Poll(request);
  }
  absl::Status Send(const v1::SessionMessage& message) override {
    store_.call = fmt::format("message {}", message.kind());
    Cost& cost = store_.costs[store_.call];
    cost.received = std::max<uint64_t>(cost.received, message.body().size());
    return calls_.Send(message);
  }
  absl::StatusOr<v1::UploadAck> Upload(const std::vector<v1::MaskedInputChunk>& stream) override {
    store_.call = "upload";
    return calls_.Upload(stream);
  }

 private:
  DirectCalls calls_;
  CountingStore& store_;
};

class ScaleTest : public testing::Test {
 protected:
  void PlayOneRound() {
    const auto cohort = static_cast<uint32_t>(coordinator_.nodes().size());
    v1::RunConfig config = TestRun(coordinator_.blobs(), "fedavg", 1);
    config.mutable_aggregation()->set_target_cohort(cohort);
    config.mutable_aggregation()->set_max_cohort(cohort);
    config.mutable_pacing()->set_stage_wait_s(600);
    ASSERT_TRUE(coordinator_->StartRun(config).ok());
    for (int turn = 0; turn < 100; ++turn) {
      for (const auto& node : coordinator_.nodes()) {
        CountedCalls calls(*coordinator_, node->id(), *store_);
        const absl::StatusOr<bool> moved = node->Step(calls, coordinator_.now());
        ASSERT_TRUE(moved.ok()) << moved.status();
      }
      store_->call = "other";
      while (coordinator_->DoWork()) {
      }
      if (coordinator_->GetRun("demo")->state() != "running") return;
      coordinator_.Advance(absl::Milliseconds(500));
    }
    FAIL() << "the round did not end";
  }

  void Print() const {
    fmt::print("{:<12} {:>8} {:>14} {:>12} {:>10}\n", "call", "commits", "bytes", "largest", "s");
    for (const auto& [call, cost] : store_->costs) {
      fmt::print("{:<12} {:>8} {:>14} {:>12} {:>10.3f}\n", call, cost.commits, cost.bytes,
                 cost.largest, absl::ToDoubleSeconds(cost.time));
    }
  }

  CountingStore* store_ = nullptr;  // of coordinator_
  TestCoordinator coordinator_{[this](std::unique_ptr<Store> store) {
    auto counting = std::make_unique<CountingStore>(std::move(store));
    store_ = counting.get();
    return counting;
  }};
};

TEST_F(ScaleTest, WhatAMessageWritesDoesNotGrowWithTheCohort) {
  const char* wanted = std::getenv("CHOIR_SCALE_NODES");
  coordinator_.AddNodes(wanted == nullptr ? 40 : std::strtoull(wanted, nullptr, 10));
  store_->costs.clear();
  const absl::Time before = absl::Now();
  PlayOneRound();
  if (wanted != nullptr) {
    fmt::print("{} nodes, one round in {:.1f} s, clients included\n", coordinator_.nodes().size(),
               absl::ToDoubleSeconds(absl::Now() - before));
    Print();
  }
  // A head, a configuration, a status, an event; and what happens once a cohort, shared by its
  // nodes.
  constexpr uint64_t kBesideTheMessage = 6 << 10;
  for (const auto& [call, cost] : store_->costs) {
    if (call == "other") continue;
    EXPECT_LE(cost.bytes / cost.commits, cost.received + kBesideTheMessage) << call;
  }
}

}  // namespace
}  // namespace choir::coordinator
