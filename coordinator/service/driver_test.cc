// The threads that keep a coordinator going: a merge or an evaluation that does not end delays
// nobody else.
#include "coordinator/service/driver.h"

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include "base/file.h"
#include "coordinator/service/test_direct_calls.h"
#include "coordinator/service/test_federation.h"
#include "coordinator/service/test_node.h"
#include "proto/trust/invite.h"
#include "tests/support/temp_dir.h"

namespace choir::coordinator {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(60);  // of the test; nothing waits so long

class SharedClock final : public Clock {
 public:
  [[nodiscard]] absl::Time Now() const override { return absl::FromUnixSeconds(seconds_.load()); }
  void Advance(int64_t by_seconds) { seconds_ += by_seconds; }

 private:
  std::atomic<int64_t> seconds_ = 1'800'000'000;
};

// Once armed, the next whole blob (a merge's new adapter) waits until it is let go.
class SlowBlobStore final : public BlobStore {
 public:
  explicit SlowBlobStore(std::unique_ptr<BlobStore> store) : store_(std::move(store)) {}
  absl::StatusOr<BlobInfo> Stat(const Digest& digest) override { return store_->Stat(digest); }
  absl::StatusOr<BlobInfo> Put(const Digest& digest, uint64_t total, uint64_t offset,
                               std::span<const uint8_t> data) override {
    return store_->Put(digest, total, offset, data);
  }
  absl::Status PutWhole(const Digest& digest, std::span<const uint8_t> data) override {
    if (armed) {
      if (!entered.HasBeenNotified()) entered.Notify();
      let_go.WaitForNotification();
    }
    return store_->PutWhole(digest, data);
  }
  absl::StatusOr<std::string> Read(const Digest& digest, uint64_t offset, uint64_t max) override {
    return store_->Read(digest, offset, max);
  }
  absl::StatusOr<std::string> LocalFile(const Digest& digest) override {
    return store_->LocalFile(digest);
  }
  absl::StatusOr<std::vector<BlobEntry>> List() override { return store_->List(); }
  absl::Status Remove(const Digest& digest) override { return store_->Remove(digest); }

  std::atomic<bool> armed = false;
  absl::Notification entered;
  absl::Notification let_go;

 private:
  std::unique_ptr<BlobStore> store_;
};

class DriverTest : public testing::Test {
 protected:
  DriverTest() : federation_(dir_.path() + "/data", clock_.Now()) {
    spdlog::set_level(spdlog::level::off);
    const DataFolder& folder = federation_.folder();
    loaded_ = std::make_unique<Federation>(LoadFederation(folder, clock_.Now()).value());
    store_ = StoreKinds()[0].open(folder.Database()).value();
    blobs_ =
        std::make_unique<SlowBlobStore>(OpenDirectoryBlobStore(folder.Blobs(), 1 << 30).value());
    coordinator_ = Coordinator::Open(*loaded_, folder, *store_, *blobs_, clock_, random_).value();
    coordinator_->members().SetAddresses({"localhost:2", "localhost:1"});
    EXPECT_TRUE(coordinator_->StartRun(TestRun(*blobs_, "fedavg", 1)).ok());
    blobs_->armed = true;
    AddNodes(4);
    driver_.emplace(*coordinator_, [this] { ++ticks_; });
  }
  ~DriverTest() override {
    if (!blobs_->let_go.HasBeenNotified()) blobs_->let_go.Notify();
    driver_.reset();
  }

  void AddNodes(uint64_t count) {
    for (uint64_t i = 0; i < count; ++i) {
      nodes_.push_back(
          std::make_unique<TestNode>(nodes_.size(), loaded_->manifest.federation_id(), random_));
      const auto invite = coordinator_->members().CreateInvite(3600);
      const auto token = trust::DecodeInvite(invite->invite(), clock_.Now())->token();
      nodes_.back()->Joined(
          coordinator_->members().Enrol(nodes_.back()->EnrolRequest(token)).value());
    }
  }
  // The nodes from `first` on do what they can until `done` says so.
  void PlayUntil(const std::function<bool()>& done, size_t first = 0) {
    const absl::Time give_up = absl::Now() + kPatience;
    while (!done() && absl::Now() < give_up) {
      for (size_t i = first; i < nodes_.size(); ++i) {
        DirectCalls calls(*coordinator_, nodes_[i]->id());
        const absl::StatusOr<bool> moved = nodes_[i]->Step(calls, clock_.Now());
        ASSERT_TRUE(moved.ok()) << moved.status();
      }
    }
    ASSERT_TRUE(done());
  }
  void PlayUntilMerging() {
    PlayUntil([this] { return blobs_->entered.HasBeenNotified(); });
  }
  v1::RunStatus Status(const std::string& run = "demo") {
    return coordinator_->GetRun(run).value();
  }

  TempDir dir_;
  SharedClock clock_;
  SystemRandom random_;
  TestFederation federation_;
  std::unique_ptr<Federation> loaded_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<SlowBlobStore> blobs_;
  std::unique_ptr<Coordinator> coordinator_;
  std::vector<std::unique_ptr<TestNode>> nodes_;
  std::atomic<uint64_t> ticks_ = 0;
  std::optional<Driver> driver_;
};

TEST_F(DriverTest, TicksAndAnswersGoOnDuringAMerge) {
  ASSERT_NO_FATAL_FAILURE(PlayUntilMerging());
  // A call that waits is answered when its time is over: only a tick does that.
  absl::Notification expired;
  ASSERT_TRUE(coordinator_->polls()
                  .Wait("nothing happens here", clock_.Now() + absl::Seconds(20),
                        [&expired](bool last) {
                          if (last) expired.Notify();
                          return last;
                        })
                  .ok());
  clock_.Advance(21);
  EXPECT_TRUE(expired.WaitForNotificationWithTimeout(kPatience));
  DirectCalls calls(*coordinator_, nodes_[0]->id());
  const auto answer = calls.CheckIn();
  EXPECT_FALSE(answer.ok() && answer->has_task());
  EXPECT_EQ(Status().rounds().rbegin()->phase(), "merging");
  blobs_->let_go.Notify();
  for (const absl::Time give_up = absl::Now() + kPatience;
       Status().state() == "running" && absl::Now() < give_up;) {
    std::this_thread::yield();
  }
  EXPECT_EQ(Status().state(), "finished");
}

TEST_F(DriverTest, EvaluationForOneRunHoldsUpNoOtherRun) {
  blobs_->let_go.Notify();
  ASSERT_TRUE(coordinator_->StopRun("demo", "another is wanted").ok());
  absl::Notification asked;
  absl::Notification answer;
  coordinator_->SetEvaluate([&](const EvaluationJob&) -> absl::StatusOr<double> {
    if (!asked.HasBeenNotified()) asked.Notify();
    answer.WaitForNotificationWithTimeout(kPatience);
    return 1.0;
  });
  const std::string texts = "held out";
  ASSERT_TRUE(blobs_->PutWhole(Sha256Of(texts), AsBytes(texts)).ok());
  v1::RunConfig gated = TestRun(*blobs_, "fedavg", 1);
  gated.set_run_id("gated");
  gated.mutable_gate()->set_data_digest(std::string(AsChars(Sha256Of(texts))));
  ASSERT_TRUE(coordinator_->StartRun(gated).ok());
  ASSERT_NO_FATAL_FAILURE(PlayUntil([&] { return asked.HasBeenNotified(); }));
  v1::RunConfig other = TestRun(*blobs_, "fedavg", 2);
  other.set_run_id("other");
  ASSERT_TRUE(coordinator_->StartRun(other).ok());
  AddNodes(4);
  PlayUntil([&] { return Status("other").state() == "finished"; }, 4);
  EXPECT_EQ(Status("gated").rounds().rbegin()->phase(), "merging");
  answer.Notify();
  PlayUntil([&] { return Status("gated").state() == "finished"; });
  EXPECT_EQ(Status("gated").adapter_version(), 1u);
}

TEST_F(DriverTest, EndWaitsForTheMergeThatIsUnderWay) {
  ASSERT_NO_FATAL_FAILURE(PlayUntilMerging());
  std::thread ending([this] { driver_.reset(); });
  blobs_->let_go.Notify();
  ending.join();
  EXPECT_EQ(Status().state(), "finished");
  EXPECT_GT(ticks_, 0u);
}

TEST_F(DriverTest, MergeOfARunThatWasStoppedMeanwhileIsThrownAway) {
  ASSERT_NO_FATAL_FAILURE(PlayUntilMerging());
  ASSERT_TRUE(coordinator_->StopRun("demo", "enough").ok());
  blobs_->let_go.Notify();
  driver_.reset();
  EXPECT_EQ(Status().state(), "stopped");
  EXPECT_EQ(Status().adapter_version(), 0u);
}

}  // namespace
}  // namespace choir::coordinator
