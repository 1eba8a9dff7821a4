#include <memory>
#include <string>

#include "absl/strings/cord.h"
#include "absl/time/clock.h"
#include <gtest/gtest.h>

#include "base/file.h"
#include "choir/v1/operator.grpc.pb.h"
#include "proto/rpc/credentials.h"
#include "proto/trust/certificates.h"

namespace choir::rpc {
namespace {

using trust::SigningKey;

// Answers with the caller's name, or refuses callers that are no operators.
class EchoService final : public v1::OperatorService::Service {
 public:
  explicit EchoService(const std::string& root_pem) : root_pem_(root_pem) {}
  grpc::Status CreateInvite(grpc::ServerContext* context, const v1::CreateInviteRequest*,
                            v1::CreateInviteResponse* response) override {
    const absl::Status allowed = RequireOperator(*context, root_pem_, absl::Now());
    if (!allowed.ok()) return ToGrpc(allowed);
    response->set_invite(PeerCommonName(*context).value_or("?"));
    return grpc::Status::OK;
  }
  grpc::Status ListNodes(grpc::ServerContext* context, const v1::ListNodesRequest*,
                         v1::ListNodesResponse* response) override {
    const absl::StatusOr<std::string> id = PeerNodeId(*context);
    if (!id.ok()) return ToGrpc(id.status());
    response->add_nodes()->set_node_id(*id);
    return grpc::Status::OK;
  }

 private:
  const std::string& root_pem_;
};

class RpcTest : public testing::Test {
 protected:
  RpcTest() {
    root_ = trust::IssueRoot(authority_, "test", validity_, random_).value();
    ca_ = trust::IssueEnrolmentCa(authority_, root_, enrolment_.public_key(), validity_, random_)
              .value();
    const SigningKey key = SigningKey::Generate(random_);
    const TlsIdentity server{
        trust::IssueCoordinator(authority_, root_, key.public_key(), validity_, random_).value(),
        key.ToPkcs8Pem()};
    grpc::ServerBuilder builder;
    builder.AddListeningPort("localhost:0", MutualServerCredentials(root_, server), &port_);
    builder.RegisterService(&service_);
    ApplyServerLimits(builder);
    server_ = builder.BuildAndStart();
    address_ = "localhost:" + std::to_string(port_);
  }
  ~RpcTest() override { server_->Shutdown(); }

  TlsIdentity NodeIdentity(const SigningKey& device, const SigningKey& issuer) {
    return {trust::IssueNode(issuer, ca_, device.public_key(), validity_, random_).value() + ca_,
            device.ToPkcs8Pem()};
  }

  template <typename Response, typename Call>
  absl::StatusOr<Response> Try(const TlsIdentity* identity, Call call) {
    const auto stub = v1::OperatorService::NewStub(OpenChannel(address_, root_, identity));
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
    Response response;
    absl::Status status = FromGrpc(call(*stub, context, response));
    if (!status.ok()) return status;
    return response;
  }
  absl::StatusOr<v1::ListNodesResponse> TryListNodes(const TlsIdentity* identity) {
    return Try<v1::ListNodesResponse>(identity, [](auto& stub, auto& context, auto& response) {
      return stub.ListNodes(&context, {}, &response);
    });
  }
  absl::StatusOr<v1::CreateInviteResponse> TryInvite(const TlsIdentity* identity) {
    return Try<v1::CreateInviteResponse>(identity, [](auto& stub, auto& context, auto& response) {
      return stub.CreateInvite(&context, {}, &response);
    });
  }

  SystemRandom random_;
  trust::Validity validity_{absl::Now() - absl::Hours(1), absl::Now() + absl::Hours(24)};
  SigningKey authority_ = SigningKey::Generate(random_);
  SigningKey enrolment_ = SigningKey::Generate(random_);
  std::string root_;
  std::string ca_;
  EchoService service_{root_};
  int port_ = 0;
  std::string address_;
  std::unique_ptr<grpc::Server> server_;
};

TEST_F(RpcTest, NodeIsKnownByItsKey) {
  const SigningKey device = SigningKey::Generate(random_);
  const TlsIdentity identity = NodeIdentity(device, enrolment_);
  const auto response = TryListNodes(&identity);
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->nodes(0).node_id(), AsChars(trust::IdOf(device.public_key())));
}

TEST_F(RpcTest, NodeMayNotCallAsOperator) {
  const TlsIdentity identity = NodeIdentity(SigningKey::Generate(random_), enrolment_);
  EXPECT_EQ(TryInvite(&identity).status().code(), absl::StatusCode::kPermissionDenied);
}

TEST_F(RpcTest, OperatorIsKnownByName) {
  const SigningKey key = SigningKey::Generate(random_);
  const TlsIdentity identity{
      trust::IssueOperator(authority_, root_, key.public_key(), "ada", validity_, random_).value(),
      key.ToPkcs8Pem()};
  const auto response = TryInvite(&identity);
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->invite(), "operator:ada");
  EXPECT_EQ(TryListNodes(&identity).status().code(), absl::StatusCode::kPermissionDenied);
}

TEST_F(RpcTest, OperatorOfTheEnrolmentCaIsRefused) {
  const SigningKey key = SigningKey::Generate(random_);
  const TlsIdentity identity{
      trust::IssueOperator(enrolment_, ca_, key.public_key(), "ada", validity_, random_).value() +
          ca_,
      key.ToPkcs8Pem()};
  const absl::Status status = TryInvite(&identity).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied);
  // The chain itself is good: it is the name that it cannot give.
  EXPECT_NE(status.message().find("not issued by the federation's authority"), std::string::npos)
      << status;
}

TEST_F(RpcTest, NoCertificateOrAForeignOneIsRefused) {
  EXPECT_FALSE(TryListNodes(nullptr).ok());
  const TlsIdentity forged =
      NodeIdentity(SigningKey::Generate(random_), SigningKey::Generate(random_));
  EXPECT_FALSE(TryListNodes(&forged).ok());
}

TEST(StatusTest, PayloadsSurviveTheWire) {
  absl::Status status = absl::AbortedError("round over");
  status.SetPayload("choir/reason", absl::Cord("chain_broken"));
  const absl::Status back = FromGrpc(ToGrpc(status));
  EXPECT_EQ(back, status);
}

}  // namespace
}  // namespace choir::rpc
