#ifndef CHOIR_COORDINATOR_SERVICE_TEST_DIRECT_CALLS_H_
#define CHOIR_COORDINATOR_SERVICE_TEST_DIRECT_CALLS_H_

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/service/coordinator.h"
#include "coordinator/service/test_node.h"

namespace choir::coordinator {

// A node's calls as calls of functions.
class DirectCalls final : public NodeCalls {
 public:
  DirectCalls(Coordinator& coordinator, std::string id)
      : coordinator_(coordinator), id_(std::move(id)) {}
  absl::StatusOr<v1::CheckInResponse> CheckIn() override;
  absl::StatusOr<std::optional<std::string>> Join(const v1::JoinCohortRequest& request) override;
  absl::StatusOr<std::optional<v1::SessionBroadcast>> Poll(
      const v1::PollSessionRequest& request) override;
  absl::Status Send(const v1::SessionMessage& message) override;
  absl::StatusOr<v1::UploadAck> Upload(const std::vector<v1::MaskedInputChunk>& stream) override;

 private:
  Coordinator& coordinator_;
  std::string id_;
};

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_SERVICE_TEST_DIRECT_CALLS_H_
