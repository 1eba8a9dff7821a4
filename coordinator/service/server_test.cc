// The coordinator as nodes meet it: two ports, TLS with certificates on both sides, real calls.
#include "coordinator/service/server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <iterator>
#include <memory>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include <grpc/grpc.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include "base/file.h"
#include "choir/v1/node.grpc.pb.h"
#include "choir/v1/operator.grpc.pb.h"
#include "coordinator/service/test_federation.h"
#include "coordinator/service/test_node.h"
#include "coordinator/service/test_remote_calls.h"
#include "proto/trust/invite.h"
#include "tests/support/forward_clock.h"
#include "tests/support/temp_dir.h"

namespace choir::coordinator {
namespace {

using std::chrono::seconds;

void SetDeadline(grpc::ClientContext& context) {
  context.set_deadline(std::chrono::system_clock::now() + seconds(30));
}

class ServerTest : public testing::Test {
 protected:
  ServerTest() : federation_(dir_.path() + "/data", absl::Now()) {
    spdlog::set_level(spdlog::level::off);
    operator_identity_ = federation_.Operator();
    Start();
  }
  // gRPC stays loaded: its own shutdown may wait ten seconds for a poll.
  static void SetUpTestSuite() { grpc_init(); }
  void Start(uint32_t handshake_s = ServerOptions().handshake_s) {
    server_.reset();
    ServerOptions options;
    options.handshake_s = handshake_s;
    options.data = federation_.folder().path;
    options.listen = "127.0.0.1:0";
    options.enrol_listen = "127.0.0.1:0";
    auto server = Server::Start(options, clock_, random_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    operator_ = v1::OperatorService::NewStub(
        rpc::OpenChannel(server_->address(), federation_.root_pem(), &operator_identity_));
  }
  template <typename Response, typename Method>
  absl::StatusOr<Response> AsOperator(Method method) {
    grpc::ClientContext context;
    SetDeadline(context);
    Response response;
    absl::Status status = rpc::FromGrpc(method(&context, &response));
    if (!status.ok()) return status;
    return response;
  }
  v1::Invite MakeInvite() {
    v1::CreateInviteRequest request;
    request.set_valid_s(600);
    const auto made = AsOperator<v1::CreateInviteResponse>([&](auto* context, auto* response) {
      return operator_->CreateInvite(context, request, response);
    });
    EXPECT_TRUE(made.ok()) << made.status();
    return trust::DecodeInvite(made->invite(), absl::Now()).value();
  }
  // Enrols through the invite's own address, as a node does.
  std::unique_ptr<RemoteCalls> Enrol(TestNode& node) {
    const v1::Invite invite = MakeInvite();
    const v1::EnrolResponse response = EnrolAt(invite.enrolment_address(), federation_.root_pem(),
                                               node.EnrolRequest(invite.token()));
    node.Joined(response);
    const rpc::TlsIdentity identity{response.certificate_chain_pem(), node.key().ToPkcs8Pem()};
    return std::make_unique<RemoteCalls>(
        rpc::OpenChannel(invite.coordinator_address(), federation_.root_pem(), &identity));
  }
  absl::Status UploadBlob(const std::string& bytes) {
    const Digest digest = Sha256Of(bytes);
    return AsOperator<v1::UploadBlobResponse>([&](auto* context, auto* response) {
             const auto writer = operator_->UploadBlob(context, response);
             v1::UploadBlobRequest request;
             request.set_digest(digest.data(), digest.size());
             request.set_total_bytes(bytes.size());
             request.set_data(bytes);
             writer->Write(request);
             writer->WritesDone();
             return writer->Finish();
           })
        .status();
  }
  absl::StatusOr<v1::RunStatus> StartRun(uint32_t rounds) {
    // The blobs go in over the wire; this store only makes the configuration.
    auto blobs = OpenDirectoryBlobStore(dir_.path() + "/operator", 1 << 20).value();
    v1::StartRunRequest request;
    *request.mutable_config() = TestRun(*blobs, "fedavg", rounds);
    for (const std::string& digest :
         {request.config().base_model_digest(), request.config().initial_adapter_digest()}) {
      Digest id{};
      std::copy(digest.begin(), digest.end(), id.begin());
      absl::Status sent = UploadBlob(blobs->Read(id, 0, 1 << 20).value());
      if (!sent.ok()) return sent;
    }
    return AsOperator<v1::RunStatus>([&](auto* context, auto* response) {
      return operator_->StartRun(context, request, response);
    });
  }

  TempDir dir_;
  ForwardClock clock_;
  SystemRandom random_;
  TestFederation federation_;
  std::unique_ptr<Server> server_;
  rpc::TlsIdentity operator_identity_;
  std::unique_ptr<v1::OperatorService::Stub> operator_;
};

TEST_F(ServerTest, FourNodesFinishARunOverMutualTls) {
  const auto started = StartRun(2);
  ASSERT_TRUE(started.ok()) << started.status();
  const std::string federation_id = started->config().federation_id();
  std::vector<std::unique_ptr<TestNode>> nodes;
  std::vector<std::unique_ptr<RemoteCalls>> calls;
  for (uint64_t i = 0; i < 4; ++i) {
    nodes.push_back(std::make_unique<TestNode>(i, federation_id, random_));
    calls.push_back(Enrol(*nodes.back()));
  }
  EXPECT_EQ(calls[0]->Fetch(started->adapter_digest(), 10).value().size(),
            calls[0]->Fetch(started->adapter_digest(), 0).value().size() - 10);
  std::atomic<bool> over = false;
  std::vector<std::thread> threads;
  for (size_t i = 0; i < nodes.size(); ++i) {
    threads.emplace_back([&, i] {
      while (!over && nodes[i]->results().size() < 2) {
        const absl::StatusOr<bool> moved = nodes[i]->Step(*calls[i], absl::Now());
        EXPECT_TRUE(moved.ok()) << "node " << i << ": " << moved.status();
        if (!moved.ok()) return;
        if (!*moved) absl::SleepFor(absl::Milliseconds(20));  // as the coordinator asks for
      }
    });
  }
  v1::WatchRunRequest watch;
  watch.set_run_id("demo");
  grpc::ClientContext context;
  SetDeadline(context);
  const auto reader = operator_->WatchRun(&context, watch);
  v1::RunStatus status;
  int updates = 0;
  while (reader->Read(&status)) ++updates;
  EXPECT_TRUE(reader->Finish().ok());
  if (status.state() != "finished") over = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(status.state(), "finished");
  EXPECT_EQ(status.rounds_published(), 2u);
  EXPECT_GT(updates, 3);
  EXPECT_EQ(nodes[0]->results().size(), 2u);
}

TEST_F(ServerTest, TwoHundredNodesMayWaitAndOthersAreServed) {
  const auto started = StartRun(1);
  ASSERT_TRUE(started.ok());
  TestNode node(0, started->config().federation_id(), random_);
  const auto calls = Enrol(node);
  ASSERT_TRUE(node.Step(*calls, absl::Now()).value());  // has a task now
  TestNode other(1, started->config().federation_id(), random_);
  const v1::Invite invite = MakeInvite();
  const v1::EnrolResponse response = EnrolAt(invite.enrolment_address(), federation_.root_pem(),
                                             other.EnrolRequest(invite.token()));
  const rpc::TlsIdentity identity{response.certificate_chain_pem(), other.key().ToPkcs8Pem()};
  // Each channel has room for 64 calls at once.
  struct Waiting {
    grpc::ClientContext context;
    v1::JoinCohortResponse response;
  };
  std::vector<std::unique_ptr<v1::NodeService::Stub>> stubs;
  std::vector<std::unique_ptr<Waiting>> waiting;
  v1::CheckInResponse task;
  v1::RoundTask opened;
  for (int channel = 0; channel < 4; ++channel) {
    stubs.push_back(v1::NodeService::NewStub(
        rpc::OpenChannel(invite.coordinator_address(), federation_.root_pem(), &identity)));
  }
  grpc::ClientContext check_in;
  SetDeadline(check_in);
  ASSERT_TRUE(stubs[0]->CheckIn(&check_in, {}, &task).ok());
  ASSERT_TRUE(opened.ParseFromString(task.task().task().body()));
  v1::JoinCohortRequest join;
  join.set_run_id(opened.run_id());
  join.set_round(opened.round());
  join.set_lease_id(opened.lease_id());
  grpc::CompletionQueue queue;
  std::vector<std::unique_ptr<grpc::ClientAsyncResponseReader<v1::JoinCohortResponse>>> readers;
  grpc::Status statuses[200];
  for (int i = 0; i < 200; ++i) {
    waiting.push_back(std::make_unique<Waiting>());
    SetDeadline(waiting.back()->context);
    readers.push_back(
        stubs[static_cast<size_t>(i) % 4]->AsyncJoinCohort(&waiting.back()->context, join, &queue));
    readers.back()->Finish(&waiting.back()->response, &statuses[i], waiting.back().get());
  }
  // 200 calls hang; an ordinary one is answered at once.
  const absl::Time before = absl::Now();
  EXPECT_TRUE(calls->CheckIn().ok());
  EXPECT_LT(absl::Now() - before, absl::Seconds(5));
  for (const auto& call : waiting) call->context.TryCancel();
  void* tag = nullptr;
  bool ok = false;
  for (int i = 0; i < 200; ++i) ASSERT_TRUE(queue.Next(&tag, &ok));
  queue.Shutdown();
}

// A node that begins downloads and reads nothing of them.
TEST_F(ServerTest, DownloadsOfOneNodeAreLimitedAndEndWhenNobodyReadsThem) {
  // More than both ends' buffers take.
  const std::string blob(64 << 20, 'b');
  const auto blobs = OpenDirectoryBlobStore(federation_.folder().Blobs(), 1 << 30).value();
  ASSERT_TRUE(blobs->PutWhole(Sha256Of(blob), AsBytes(blob)).ok());
  const auto started = StartRun(1);
  ASSERT_TRUE(started.ok()) << started.status();
  TestNode node(0, started->config().federation_id(), random_);
  const auto calls = Enrol(node);
  const Digest digest = Sha256Of(blob);
  v1::FetchBlobRequest request;
  request.set_digest(digest.data(), digest.size());
  struct Download {
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientReader<v1::BlobChunk>> reader;
    v1::BlobChunk chunk;
  };
  std::vector<std::unique_ptr<Download>> downloads;
  for (int i = 0; i < 2; ++i) {
    auto download = std::make_unique<Download>();
    SetDeadline(download->context);
    download->reader = calls->stub().FetchBlob(&download->context, request);
    ASSERT_TRUE(download->reader->Read(&download->chunk));  // it has its place
    downloads.push_back(std::move(download));
  }
  const std::string id(AsChars(digest));
  const absl::Status third = calls->Fetch(id, 0).status();
  EXPECT_EQ(third.code(), absl::StatusCode::kResourceExhausted) << third;
  // Once a tick has ended them there is room again.
  absl::Status fourth = third;
  for (const absl::Time give_up = absl::Now() + absl::Seconds(60);
       !fourth.ok() && absl::Now() < give_up;) {
    clock_.Advance(130);
    absl::SleepFor(absl::Milliseconds(20));
    fourth = calls->Fetch(id, blob.size() - 1).status();
  }
  EXPECT_TRUE(fourth.ok()) << fourth;
  for (const auto& download : downloads) {
    while (download->reader->Read(&download->chunk)) {
    }
    EXPECT_EQ(download->reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
}

TEST_F(ServerTest, CallersMayDoOnlyWhatTheirCertificateSays) {
  const auto started = StartRun(1);
  ASSERT_TRUE(started.ok());
  TestNode node(0, started->config().federation_id(), random_);
  (void)Enrol(node);
  // An operator is no node.
  v1::CheckInResponse answer;
  const auto as_node = v1::NodeService::NewStub(
      rpc::OpenChannel(server_->address(), federation_.root_pem(), &operator_identity_));
  grpc::ClientContext context;
  SetDeadline(context);
  EXPECT_EQ(as_node->CheckIn(&context, {}, &answer).error_code(),
            grpc::StatusCode::PERMISSION_DENIED);
  // Without a certificate there is no connection.
  const auto nobody = v1::NodeService::NewStub(
      rpc::OpenChannel(server_->address(), federation_.root_pem(), nullptr));
  grpc::ClientContext other;
  other.set_deadline(std::chrono::system_clock::now() + seconds(3));
  EXPECT_FALSE(nobody->CheckIn(&other, {}, &answer).ok());
}

TEST_F(ServerTest, SecondCoordinatorInOneFolderIsRefused) {
  ServerOptions options;
  options.data = federation_.folder().path;
  options.listen = "127.0.0.1:0";
  options.enrol_listen = "127.0.0.1:0";
  EXPECT_EQ(Server::Start(options, clock_, random_).status().code(),
            absl::StatusCode::kUnavailable);
}

TEST_F(ServerTest, EndpointsAreWrittenForOthersToFind) {
  const auto text = ReadFile(federation_.folder().Endpoints(), 1 << 16);
  ASSERT_TRUE(text.ok());
  EXPECT_NE(text->find(server_->address()), std::string::npos);
  EXPECT_NE(text->find(server_->enrol_address()), std::string::npos);
}

// A connection as a stranger opens it: bytes, or none.
class RawConnection {
 public:
  explicit RawConnection(const std::string& address) {
    const size_t colon = address.rfind(':');
    sockaddr_in where{};
    where.sin_family = AF_INET;
    where.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(colon + 1))));
    inet_pton(AF_INET, address.substr(0, colon).c_str(), &where.sin_addr);
    connected_ = connect(fd_, reinterpret_cast<const sockaddr*>(&where), sizeof where) == 0;
  }
  ~RawConnection() { close(fd_); }
  RawConnection(const RawConnection&) = delete;
  RawConnection& operator=(const RawConnection&) = delete;

  [[nodiscard]] bool connected() const { return connected_; }
  void SendByte(uint8_t byte) { (void)send(fd_, &byte, 1, MSG_NOSIGNAL); }
  // The other end has closed it.
  [[nodiscard]] bool IsClosed() const {
    char byte = 0;
    const ssize_t got = recv(fd_, &byte, 1, MSG_DONTWAIT);
    return got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
  }

 private:
  const int fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  bool connected_ = false;
};

// Slow loris: silent, or one byte of a ClientHello at a time, on both ports.
TEST_F(ServerTest, ConnectionsThatDoNotFinishTlsAreClosedAndOthersAreServed) {
  constexpr uint32_t kHandshakeS = 3;
  constexpr size_t kSilent = 60;
  constexpr size_t kDripping = 20;
  Start(kHandshakeS);
  std::vector<std::unique_ptr<RawConnection>> strangers;
  for (size_t i = 0; i < kSilent + kDripping; ++i) {
    strangers.push_back(std::make_unique<RawConnection>(i % 2 == 0 ? server_->address()
                                                                   : server_->enrol_address()));
    ASSERT_TRUE(strangers.back()->connected()) << i;
  }
  const auto started = StartRun(1);
  ASSERT_TRUE(started.ok()) << started.status();
  TestNode node(0, started->config().federation_id(), random_);
  const auto calls = Enrol(node);
  EXPECT_TRUE(calls->CheckIn().ok());
  // A TLS record of 512 bytes that never comes to its end.
  const uint8_t record[] = {0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3};
  size_t open = strangers.size();
  const absl::Time give_up = absl::Now() + absl::Seconds(60);
  for (size_t turn = 0; open > 0 && absl::Now() < give_up; ++turn) {
    for (size_t i = kSilent; i < strangers.size(); ++i) {
      strangers[i]->SendByte(turn < std::size(record) ? record[turn] : 0);
    }
    absl::SleepFor(absl::Milliseconds(100));
    open = static_cast<size_t>(
        std::ranges::count_if(strangers, [](const auto& one) { return !one->IsClosed(); }));
  }
  EXPECT_EQ(open, 0u);
  EXPECT_TRUE(calls->CheckIn().ok());
}

// Connections that come and go as fast as one thread can, while a node works.
TEST_F(ServerTest, StormOfConnectionsDisturbsNobodysCalls) {
  const auto started = StartRun(1);
  ASSERT_TRUE(started.ok()) << started.status();
  TestNode node(0, started->config().federation_id(), random_);
  const auto calls = Enrol(node);
  std::atomic<bool> over = false;
  std::atomic<int> opened = 0;
  std::thread storm([&] {
    while (!over) {
      const RawConnection one(opened % 2 == 0 ? server_->address() : server_->enrol_address());
      if (one.connected()) ++opened;
    }
  });
  for (int i = 0; i < 20 || opened < 1000; ++i) {
    if (i >= 20) {
      absl::SleepFor(absl::Milliseconds(5));
      continue;
    }
    const auto answer = calls->CheckIn();
    EXPECT_TRUE(answer.ok()) << answer.status();
  }
  over = true;
  storm.join();
  TestNode late(1, started->config().federation_id(), random_);
  EXPECT_TRUE(Enrol(late)->CheckIn().ok());
}

}  // namespace
}  // namespace choir::coordinator
