// The real program, killed by `kill -9` at a named point and started again: the run must finish
// with the right adapters, each node counted once, and an unbroken chain.
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include <fmt/format.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "choir/v1/enrolment.grpc.pb.h"
#include "choir/v1/operator.grpc.pb.h"
#include "coordinator/service/coordinator.h"
#include "coordinator/service/run_plan.h"
#include "coordinator/service/test_federation.h"
#include "coordinator/service/test_node.h"
#include "coordinator/service/test_remote_calls.h"
#include "engine/lora/factors.h"
#include "proto/trust/documents.h"
#include "proto/trust/invite.h"
#include "secure-agg/core/result_chain.h"
#include "tests/support/temp_dir.h"
#include <nlohmann/json.hpp>

namespace choir::coordinator {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(60);

// Each is hit in every round; the number says at which hit the program dies.
const char* const kPoints[] = {
    "coordinator-run-started",
    "coordinator-enrolled-before-answer:2",
    "coordinator-check-in-before-commit:3",
    "coordinator-check-in-after-commit:2",
    "coordinator-cohort-before-commit",
    "coordinator-cohort-after-commit",
    "coordinator-message-before-commit:3",
    "coordinator-key-list-closed",
    "coordinator-share-delivery-closed",
    "coordinator-chunk-stored:2",
    "coordinator-upload-complete:3",
    "coordinator-input-counted:2",
    "coordinator-survivor-list-closed",
    "coordinator-survivor-signatures-closed",
    "coordinator-sum-written",
    "coordinator-sum-committed",
    "coordinator-merged-before-commit",
    "coordinator-published",
};

// The program, started again whenever it dies.
class Program {
 public:
  Program(std::string data, std::string failpoint) : data_(std::move(data)) {
    Start("127.0.0.1:0", "127.0.0.1:0", failpoint);
    ReadEndpoints();
    keeper_ = std::thread([this] { Keep(); });
  }
  ~Program() {
    stopping_ = true;
    kill(pid_, SIGTERM);
    keeper_.join();
  }
  [[nodiscard]] int deaths() const { return deaths_; }
  [[nodiscard]] const std::string& address() const { return address_; }
  [[nodiscard]] const std::string& enrol_address() const { return enrol_address_; }

 private:
  void Start(const std::string& listen, const std::string& enrol, const std::string& failpoint) {
    const std::string variable = "CHOIR_FAILPOINT=" + failpoint;
    std::vector<std::string> text = {
        CHOIR_COORDINATOR_PROGRAM, "--data", data_,         "--listen", listen,
        "--enrol-listen",          enrol,    "--log-level", "error"};
    std::vector<char*> arguments;
    for (std::string& argument : text) arguments.push_back(argument.data());
    arguments.push_back(nullptr);
    std::string variable_text = variable;
    char* environment[] = {variable_text.data(), nullptr};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    pid_t pid = 0;
    ASSERT_EQ(posix_spawn(&pid, text[0].c_str(), &actions, nullptr, arguments.data(), environment),
              0);
    posix_spawn_file_actions_destroy(&actions);
    pid_ = pid;
  }
  void ReadEndpoints() {
    const absl::Time limit = absl::Now() + kPatience;
    absl::StatusOr<std::string> text;
    while (absl::Now() < limit) {
      text = ReadFile(data_ + "/endpoints.json", 1 << 16);
      if (text.ok()) break;
      absl::SleepFor(absl::Milliseconds(20));
    }
    ASSERT_TRUE(text.ok()) << text.status();
    const nlohmann::json endpoints = nlohmann::json::parse(*text);
    address_ = endpoints.at("coordinator").get<std::string>();
    enrol_address_ = endpoints.at("enrolment").get<std::string>();
  }
  void Keep() {
    for (;;) {
      int status = 0;
      waitpid(pid_, &status, 0);
      if (stopping_) {
        EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "no clean stop";
        return;
      }
      EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
      ++deaths_;
      Start(address_, enrol_address_, "");
    }
  }

  const std::string data_;
  std::atomic<pid_t> pid_ = 0;
  std::atomic<int> deaths_ = 0;
  std::atomic<bool> stopping_ = false;
  std::string address_;
  std::string enrol_address_;
  std::thread keeper_;
};

class KillTest : public testing::TestWithParam<const char*> {
 protected:
  KillTest() : federation_(dir_.path() + "/data", absl::Now()), identity_(federation_.Operator()) {}

  void PutBlobs() {
    // Into the folder, before the program opens it: uploads are another test's.
    auto blobs = OpenDirectoryBlobStore(federation_.folder().Blobs(), 1 << 20).value();
    config_ = TestRun(*blobs, "fedavg", 2);
  }
  RemoteOperator Operator(const Program& program) {
    return RemoteOperator(rpc::OpenChannel(program.address(), federation_.root_pem(), &identity_));
  }
  std::unique_ptr<RemoteCalls> Enrol(const Program& program, TestNode& node,
                                     const std::string& token) {
    const v1::EnrolResponse response =
        EnrolAt(program.enrol_address(), federation_.root_pem(), node.EnrolRequest(token));
    node.Joined(response);
    const rpc::TlsIdentity identity{response.certificate_chain_pem(), node.key().ToPkcs8Pem()};
    return std::make_unique<RemoteCalls>(
        rpc::OpenChannel(program.address(), federation_.root_pem(), &identity));
  }
  // Every version is its parent and the mean of all four nodes' deltas.
  void CheckChain(RemoteOperator& operators, const v1::RunStatus& status) {
    const v1::ListAdapterVersionsResponse listed = operators.ListVersions("demo");
    ASSERT_EQ(listed.versions_size(), 3);
    ASSERT_EQ(listed.round_results_size(), 2);
    std::optional<secagg::ChainHead> head;
    for (const std::string& bytes : listed.round_results()) {
      const auto result = secagg::DecodeRoundResult(AsBytes(bytes)).value();
      EXPECT_EQ(result.contributors.size(), 4u);
      v1::SignedDocument any = listed.versions(0);
      const auto next = secagg::FollowChain(
          head, trust::PublicKeyFrom(AsBytes(any.signer_key())).value(), result);
      ASSERT_TRUE(next.ok()) << next.status();
      head = *next;
    }
    auto blobs = OpenDirectoryBlobStore(federation_.folder().Blobs(), 1 << 20).value();
    const Digest digest = DigestFrom(status.adapter_digest(), "adapter").value();
    const std::vector<float> got = engine::FlattenFactors(ReadAdapterBlob(*blobs, digest).value(),
                                                          engine::TrainedFactors::kBoth);
    const std::vector<float> start =
        engine::FlattenFactors(TestAdapter(), engine::TrainedFactors::kBoth);
    for (size_t i = 0; i < got.size(); ++i) {
      float want = start[i];
      for (uint64_t v = 0; v < 2; ++v) {
        for (uint64_t node = 0; node < 4; ++node) want += TestNode::Delta(node, v, i) / 4;
      }
      EXPECT_NEAR(got[i], want, 4e-5f) << i;  // as in coordinator_test.cc
    }
  }

  TempDir dir_;
  SystemRandom random_;
  TestFederation federation_;
  rpc::TlsIdentity identity_;
  v1::RunConfig config_;
};

TEST_P(KillTest, RunFinishesWithTheRightSum) {
  PutBlobs();
  Program program(federation_.folder().path, GetParam());
  RemoteOperator operators = Operator(program);
  const v1::RunStatus started = operators.StartRun(config_);
  std::vector<std::unique_ptr<TestNode>> nodes;
  std::vector<std::unique_ptr<RemoteCalls>> calls;
  for (uint64_t i = 0; i < 4; ++i) {
    nodes.push_back(std::make_unique<TestNode>(i, started.config().federation_id(), random_));
    calls.push_back(Enrol(program, *nodes.back(), operators.Token()));
  }
  std::atomic<bool> over = false;
  std::vector<std::thread> threads;
  for (size_t i = 0; i < nodes.size(); ++i) {
    threads.emplace_back([&, i] {
      while (!over) {
        const absl::StatusOr<bool> moved = nodes[i]->Step(*calls[i], absl::Now());
        EXPECT_TRUE(moved.ok()) << "node " << i << ": " << moved.status();
        if (!moved.ok()) return;
        if (!*moved) absl::SleepFor(absl::Milliseconds(20));  // as the coordinator asks for
      }
    });
  }
  const absl::Time limit = absl::Now() + kPatience;
  v1::RunStatus status = started;
  while (status.state() == "running" && absl::Now() < limit) {
    absl::SleepFor(absl::Milliseconds(50));
    status = operators.GetRun("demo");
  }
  over = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(status.state(), "finished");
  EXPECT_EQ(program.deaths(), 1) << "the point was not hit";
  CheckChain(operators, status);
}

// Killed between the steps of a sweep: what is named stays, what is not goes in the end.
class SweepKillTest : public KillTest {};

TEST_P(SweepKillTest, NothingThatIsNamedGoesAndTheRestDoes) {
  PutBlobs();
  std::vector<std::string> unused;
  Batch notes;
  notes.pieces = {{"unused-blobs", false, {}}};
  {
    auto blobs = OpenDirectoryBlobStore(federation_.folder().Blobs(), 1 << 20).value();
    for (int i = 0; i < 5; ++i) {
      unused.push_back(fmt::format("nobody's {}", i));
      const Digest digest = Sha256Of(unused.back());
      ASSERT_TRUE(blobs->PutWhole(digest, AsBytes(unused.back())).ok());
      notes.pieces[0].pieces.push_back({std::string(AsText(digest)), "10 1 1600000000"});
    }
    // A sweep of long ago found the run's model unused, too.
    notes.pieces[0].pieces.push_back({config_.base_model_digest(), "12 1 1600000000"});
    auto store = StoreKinds()[0].open(federation_.folder().Database()).value();
    ASSERT_TRUE(store->Commit(notes).ok());
    // The run is there before the program starts: it names its blobs.
    const auto loaded = LoadFederation(federation_.folder(), absl::Now()).value();
    const SystemClock clock;
    auto coordinator =
        Coordinator::Open(loaded, federation_.folder(), *store, *blobs, clock, random_).value();
    ASSERT_TRUE(coordinator->StartRun(config_).ok());
  }
  Program program(federation_.folder().path, GetParam());
  auto blobs = OpenDirectoryBlobStore(federation_.folder().Blobs(), 1 << 20).value();
  const auto there = [&] {
    return std::ranges::count_if(
        unused, [&](const std::string& text) { return blobs->Stat(Sha256Of(text))->complete; });
  };
  for (const absl::Time limit = absl::Now() + kPatience;
       (there() > 0 || program.deaths() == 0) && absl::Now() < limit;) {
    absl::SleepFor(absl::Milliseconds(20));
  }
  EXPECT_EQ(there(), 0);
  EXPECT_EQ(program.deaths(), 1) << "the point was not hit";
  for (const std::string& digest :
       {config_.base_model_digest(), config_.initial_adapter_digest()}) {
    EXPECT_TRUE(blobs->Stat(DigestFrom(digest, "digest").value())->complete);
  }
}

INSTANTIATE_TEST_SUITE_P(Points, SweepKillTest,
                         testing::Values("coordinator-unused-blobs-noted",
                                         "coordinator-blob-removed", "coordinator-blob-removed:3"),
                         [](const auto& entry) {
                           std::string name = entry.param;
                           std::ranges::replace_if(
                               name, [](char c) { return c == '-' || c == ':'; }, '_');
                           return name;
                         });

INSTANTIATE_TEST_SUITE_P(Points, KillTest, testing::ValuesIn(kPoints), [](const auto& entry) {
  std::string name = entry.param;
  for (char& c : name) {
    if (c == '-' || c == ':') c = '_';
  }
  return name;
});

}  // namespace
}  // namespace choir::coordinator
