#include "coordinator/service/test_liars.h"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <thread>

#include "absl/time/clock.h"
#include <gmock/gmock.h>
#include <grpc/grpc.h>
#include <spdlog/spdlog.h>

#include "base/file.h"
#include "coordinator/service/run_actor.h"
#include "coordinator/service/run_plan.h"
#include "engine/lora/contribution.h"
#include "secure-agg/core/abort_reason.h"

namespace choir::coordinator {
namespace {

constexpr int64_t kStageWaitS = 10;
constexpr absl::Duration kPatience = absl::Minutes(2);

}  // namespace

// Knows whether its node only waits for others.
class WatchedCalls final : public NodeCalls {
 public:
  explicit WatchedCalls(std::unique_ptr<RemoteCalls> calls) : calls_(std::move(calls)) {}
  [[nodiscard]] bool waiting() const { return waiting_; }
  [[nodiscard]] uint64_t count() const { return count_; }

  absl::StatusOr<v1::CheckInResponse> CheckIn() override {
    ++count_;
    return calls_->CheckIn();
  }
  absl::StatusOr<std::optional<std::string>> Join(const v1::JoinCohortRequest& request) override {
    waiting_ = true;
    auto config = calls_->Join(request);
    waiting_ = false;
    if (!config.ok() || config->has_value()) ++count_;
    return config;
  }
  absl::StatusOr<std::optional<v1::SessionBroadcast>> Poll(
      const v1::PollSessionRequest& request) override {
    waiting_ = true;
    auto broadcast = calls_->Poll(request);
    waiting_ = false;
    if (!broadcast.ok() || broadcast->has_value()) ++count_;
    return broadcast;
  }
  absl::Status Send(const v1::SessionMessage& message) override {
    ++count_;
    return calls_->Send(message);
  }
  absl::StatusOr<v1::UploadAck> Upload(const std::vector<v1::MaskedInputChunk>& stream) override {
    ++count_;
    return calls_->Upload(stream);
  }

 private:
  const std::unique_ptr<RemoteCalls> calls_;
  std::atomic<bool> waiting_ = false;
  std::atomic<uint64_t> count_ = 0;
};

LiarTest::LiarTest() : federation_(dir_.path() + "/data", absl::Now()) {
  spdlog::set_level(spdlog::level::off);
  ServerOptions options;
  options.data = federation_.folder().path;
  options.listen = "127.0.0.1:0";
  options.enrol_listen = "127.0.0.1:0";
  server_ = Server::Start(options, clock_, random_).value();
  operator_identity_ = federation_.Operator();
  operator_ = std::make_unique<RemoteOperator>(Channel(operator_identity_));
  blobs_ = OpenDirectoryBlobStore(federation_.folder().Blobs(), 1 << 30).value();
}

LiarTest::~LiarTest() = default;

void LiarTest::SetUpTestSuite() {
  grpc_init();
}

std::shared_ptr<grpc::Channel> LiarTest::Channel(const rpc::TlsIdentity& identity) {
  return rpc::OpenChannel(server_->address(), federation_.root_pem(), &identity);
}

std::unique_ptr<RemoteCalls> LiarTest::Enrol(TestNode& node) {
  const v1::EnrolResponse response = EnrolAt(server_->enrol_address(), federation_.root_pem(),
                                             node.EnrolRequest(operator_->Token()));
  node.Joined(response);
  return std::make_unique<RemoteCalls>(
      Channel({response.certificate_chain_pem(), node.key().ToPkcs8Pem()}));
}

void LiarTest::Start(uint32_t rounds) {
  v1::RunConfig config = TestRun(*blobs_, "fedavg", rounds);
  config.mutable_pacing()->set_stage_wait_s(kStageWaitS);
  federation_id_ = operator_->StartRun(config).config().federation_id();
  for (uint64_t i = 0; i < kLiar; ++i) {
    nodes_.push_back(std::make_unique<TestNode>(i, federation_id_, random_));
    honest_.push_back(std::make_unique<WatchedCalls>(Enrol(*nodes_.back())));
  }
  nodes_.push_back(std::make_unique<TestNode>(kLiar, federation_id_, random_));
  liar_ = std::make_unique<LyingCalls>(Enrol(*nodes_[kLiar]), *nodes_[kLiar]);
}

void LiarTest::Play(const std::function<void()>& each) {
  std::atomic<bool> over = false;
  std::atomic<bool> liar_gone = false;
  std::vector<std::thread> threads;
  for (size_t i = 0; i < kLiar; ++i) {
    threads.emplace_back([&, i] {
      while (!over) {
        const absl::StatusOr<bool> moved = nodes_[i]->Step(*honest_[i], clock_.Now());
        EXPECT_TRUE(moved.ok() || over) << "node " << i << ": " << moved.status();
        if (!moved.ok()) return;
        if (!*moved) absl::SleepFor(absl::Milliseconds(5));
      }
    });
  }
  threads.emplace_back([&] {
    for (bool stays = true; !over && stays;) {
      each();
      const absl::StatusOr<bool> moved = nodes_[kLiar]->Step(*liar_, clock_.Now());
      stays = moved.ok();
      if (!stays) liars_end_ = moved.status();
      if (stays && !*moved) absl::SleepFor(absl::Milliseconds(5));
    }
    liar_gone = true;
  });
  PutTheClockForwardWhenAllWait([&] { return liar_gone.load(); });
  over = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(Status().state(), "finished");
}

// Until the run is over.
void LiarTest::PutTheClockForwardWhenAllWait(const std::function<bool()>& liar_gone) {
  const absl::Time limit = absl::Now() + kPatience;
  uint64_t last = 0;
  absl::Time since = absl::Now();
  while (Status().state() == "running" && absl::Now() < limit) {
    absl::SleepFor(absl::Milliseconds(20));
    uint64_t count = 0;
    bool waiting = liar_gone();
    for (const auto& calls : honest_) {
      count += calls->count();
      waiting = waiting && calls->waiting();
    }
    if (!waiting || count != last) since = absl::Now();
    last = count;
    if (absl::Now() - since < absl::Milliseconds(500)) continue;
    clock_.Advance(kStageWaitS + 1);
    since = absl::Now();
  }
}

std::vector<uint64_t> LiarTest::ExactContributors(uint64_t versions) {
  const v1::ListAdapterVersionsResponse listed = operator_->ListVersions("demo");
  EXPECT_EQ(listed.versions_size(), static_cast<int>(versions) + 1);
  v1::AdapterVersion version;
  EXPECT_TRUE(version.ParseFromString(listed.versions().rbegin()->body()));
  std::vector<float> wanted = engine::FlattenFactors(TestAdapter(), engine::TrainedFactors::kBoth);
  std::vector<uint64_t> contributors;
  for (int v = 0; v < listed.round_results_size(); ++v) {
    const auto result = secagg::DecodeRoundResult(AsBytes(listed.round_results(v))).value();
    contributors.clear();
    for (uint64_t i = 0; i < nodes_.size(); ++i) {
      if (std::ranges::count(result.contributors, nodes_[i]->id()) > 0) contributors.push_back(i);
    }
    EXPECT_EQ(contributors.size(), result.contributors.size());
    for (size_t k = 0; k < wanted.size(); ++k) {
      float sum = 0;
      for (const uint64_t i : contributors) {
        sum += TestNode::Delta(i, static_cast<uint64_t>(v), k);
      }
      wanted[k] += sum / static_cast<float>(contributors.size());
    }
  }
  const Digest digest = DigestFrom(version.adapter_digest(), "adapter").value();
  const std::vector<float> found = engine::FlattenFactors(ReadAdapterBlob(*blobs_, digest).value(),
                                                          engine::TrainedFactors::kBoth);
  EXPECT_THAT(found, testing::Pointwise(testing::FloatNear(4e-5f), wanted));
  return contributors;
}

bool LiarTest::NamedLiar(const std::string& id) {
  server_.reset();
  const auto store = StoreKinds()[0].open(federation_.folder().Database()).value();
  const std::vector<EventRecord> events = store->ListEvents(1000).value();
  return std::ranges::any_of(events, [&](const EventRecord& event) {
    return event.text.find("node_lied_about_shares") != std::string::npos &&
           event.text.find("node=" + ShortId(id)) != std::string::npos;
  });
}

std::vector<std::string> LiarTest::LeftInSpool() {
  std::vector<std::string> left;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(federation_.folder().Spool())) {
    if (entry.is_regular_file()) left.push_back(entry.path());
  }
  return left;
}

std::string LiarTest::NameOf(const absl::Status& status) {
  const auto reason = secagg::ReasonOf(status);
  return reason.has_value() ? std::string(secagg::AbortReasonName(*reason)) : status.ToString();
}

TEST_P(LieTest, IsRefusedByItsOwnReasonAndTheSumStaysExact) {
  const Case& test = GetParam();
  Start(1);
  test.lie(liar_->lies);
  Play();
  ASSERT_EQ(Status().state(), "finished");
  const std::vector<uint64_t> contributors = ExactContributors(1);
  EXPECT_EQ(contributors.size(), test.sum == Sum::kOfTheOthers ? 3 : test.contributors);
  EXPECT_THAT(LeftInSpool(), testing::IsEmpty());
  const v1::RunStatus status = Status();
  if (test.sum == Sum::kOfALaterRound) {
    ASSERT_EQ(status.rounds_size(), 2);
    EXPECT_EQ(status.rounds(0).phase(), "abandoned");
    EXPECT_EQ(status.rounds(0).reason(), test.reason) << status.rounds(0).reason_text();
    return;
  }
  EXPECT_EQ(status.rounds_size(), 1);
  if (*test.reason == '\0') {
    EXPECT_THAT(liar_->refusals(), testing::IsEmpty());
    return;
  }
  ASSERT_EQ(liar_->refusals().size(), 1u) << liars_end_;
  EXPECT_EQ(NameOf(liar_->refusals()[0]), test.reason) << liar_->refusals()[0];
}

}  // namespace choir::coordinator
