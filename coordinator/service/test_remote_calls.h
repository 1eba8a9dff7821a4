#ifndef CHOIR_COORDINATOR_SERVICE_TEST_REMOTE_CALLS_H_
#define CHOIR_COORDINATOR_SERVICE_TEST_REMOTE_CALLS_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <grpcpp/grpcpp.h>

#include "choir/v1/node.grpc.pb.h"
#include "choir/v1/operator.grpc.pb.h"
#include "coordinator/service/test_node.h"

namespace choir::coordinator {

// A node's calls over gRPC. While the coordinator is away (UNAVAILABLE) they are repeated for up to
// a minute, as a node repeats them.
class RemoteCalls final : public NodeCalls {
 public:
  explicit RemoteCalls(std::shared_ptr<grpc::Channel> channel);
  absl::StatusOr<v1::CheckInResponse> CheckIn() override;
  absl::StatusOr<std::optional<std::string>> Join(const v1::JoinCohortRequest& request) override;
  absl::StatusOr<std::optional<v1::SessionBroadcast>> Poll(
      const v1::PollSessionRequest& request) override;
  absl::Status Send(const v1::SessionMessage& message) override;
  absl::StatusOr<v1::UploadAck> Upload(const std::vector<v1::MaskedInputChunk>& stream) override;
  // A blob from `offset` to its end.
  absl::StatusOr<std::string> Fetch(const std::string& digest, uint64_t offset);
  v1::NodeService::Stub& stub() { return *stub_; }

 private:
  std::unique_ptr<v1::NodeService::Stub> stub_;
};

// An operator's calls, repeated likewise; a failure fails the test.
class RemoteOperator {
 public:
  explicit RemoteOperator(std::shared_ptr<grpc::Channel> channel);
  // Of a fresh invite.
  std::string Token();
  v1::RunStatus StartRun(const v1::RunConfig& config);
  v1::RunStatus GetRun(const std::string& run_id);
  v1::ListAdapterVersionsResponse ListVersions(const std::string& run_id);

 private:
  std::unique_ptr<v1::OperatorService::Stub> stub_;
};

v1::EnrolResponse EnrolAt(const std::string& address, const std::string& root_pem,
                          const v1::EnrolRequest& request);

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_SERVICE_TEST_REMOTE_CALLS_H_
