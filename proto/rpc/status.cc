#include <algorithm>
#include <string>

#include "absl/strings/cord.h"

#include "choir/v1/error.pb.h"
#include "proto/rpc/credentials.h"

namespace choir::rpc {
namespace {

// Details travel in an HTTP/2 trailer, of which gRPC accepts 8 KiB.
constexpr size_t kMaxDetailBytes = 4096;
constexpr size_t kMaxMessageBytes = 1024;

}  // namespace

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  v1::ErrorDetails details;
  status.ForEachPayload([&details](auto type, const absl::Cord& value) {
    v1::ErrorDetails::Payload* payload = details.add_payloads();
    payload->set_type(std::string(type.data(), type.size()));
    payload->set_value(std::string(value));
  });
  std::string bytes = details.SerializeAsString();
  if (bytes.size() > kMaxDetailBytes) bytes.clear();
  const std::string message(status.message().data(),
                            std::min(status.message().size(), kMaxMessageBytes));
  // absl's codes are gRPC's, number by number.
  return {static_cast<grpc::StatusCode>(status.raw_code()), message, bytes};
}

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  absl::Status out(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
  v1::ErrorDetails details;
  if (details.ParseFromString(status.error_details())) {
    for (const v1::ErrorDetails::Payload& payload : details.payloads()) {
      out.SetPayload(payload.type(), absl::Cord(payload.value()));
    }
  }
  return out;
}

}  // namespace choir::rpc
