#include "coordinator/service/test_direct_calls.h"

namespace choir::coordinator {

absl::StatusOr<v1::CheckInResponse> DirectCalls::CheckIn() {
  return coordinator_.CheckIn(id_, {});
}

absl::StatusOr<std::optional<std::string>> DirectCalls::Join(const v1::JoinCohortRequest& request) {
  auto response = coordinator_.Join(id_, request);
  if (!response.ok()) return response.status();
  if (!response->has_value()) return std::nullopt;
  return (*response)->session_config();
}

absl::StatusOr<std::optional<v1::SessionBroadcast>> DirectCalls::Poll(
    const v1::PollSessionRequest& request) {
  return coordinator_.Poll(id_, request);
}

absl::Status DirectCalls::Send(const v1::SessionMessage& message) {
  return coordinator_.TakeMessage(id_, message);
}

absl::StatusOr<v1::UploadAck> DirectCalls::Upload(const std::vector<v1::MaskedInputChunk>& stream) {
  absl::StatusOr<v1::UploadAck> ack = absl::InternalError("nothing sent");
  for (const v1::MaskedInputChunk& message : stream) {
    ack = coordinator_.TakeUpload(id_, message);
    if (!ack.ok()) return ack;
  }
  return ack;
}

}  // namespace choir::coordinator
