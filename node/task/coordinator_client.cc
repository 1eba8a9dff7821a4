#include "node/task/coordinator_client.h"

#include "absl/time/clock.h"

#include "base/file.h"
#include "base/status_macros.h"

namespace choir::node {
namespace {

constexpr absl::Duration kCallTimeout = absl::Seconds(15);
constexpr absl::Duration kPollTimeout = absl::Seconds(40);  // the coordinator answers within 20 s
constexpr absl::Duration kTransferTimeout = absl::Minutes(10);  // then it resumes

}  // namespace

class CoordinatorClient::Call {
 public:
  Call(CoordinatorClient& client, absl::Duration timeout) : client_(client) {
    context_.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
    // A call that waits also drives the reconnection (gRPC's sockets are polled by calls); calls
    // that fail at once would leave that to a background poll every 5 s.
    context_.set_wait_for_ready(true);
    const absl::MutexLock lock(&client_.mu_);
    client_.calls_.insert(&context_);
    if (client_.cancelled_) context_.TryCancel();
  }
  ~Call() {
    const absl::MutexLock lock(&client_.mu_);
    client_.calls_.erase(&context_);
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;
  grpc::ClientContext* get() { return &context_; }

 private:
  CoordinatorClient& client_;
  grpc::ClientContext context_;
};

CoordinatorClient::CoordinatorClient(const std::string& address, const std::string& root_pem,
                                     const rpc::TlsIdentity& identity)
    : stub_(v1::NodeService::NewStub(rpc::OpenChannel(address, root_pem, &identity))) {}

template <typename Request, typename Response>
absl::StatusOr<Response> CoordinatorClient::Unary(
    grpc::Status (v1::NodeService::Stub::*method)(grpc::ClientContext*, const Request&, Response*),
    const Request& request, absl::Duration timeout) {
  Call call(*this, timeout);
  Response response;
  CHOIR_RETURN_IF_ERROR(rpc::FromGrpc((stub_.get()->*method)(call.get(), request, &response)));
  return response;
}

absl::StatusOr<v1::CheckInResponse> CoordinatorClient::CheckIn(const v1::CheckInRequest& request) {
  return Unary(&v1::NodeService::Stub::CheckIn, request, kCallTimeout);
}

absl::Status CoordinatorClient::FetchBlob(
    const Digest& digest, uint64_t offset,
    absl::FunctionRef<absl::Status(const v1::BlobChunk&)> sink) {
  v1::FetchBlobRequest request;
  request.set_digest(std::string(AsChars(digest)));
  request.set_offset(offset);
  Call call(*this, kTransferTimeout);
  const auto reader = stub_->FetchBlob(call.get(), request);
  v1::BlobChunk chunk;
  absl::Status sunk;
  while (sunk.ok() && reader->Read(&chunk)) sunk = sink(chunk);
  if (!sunk.ok()) call.get()->TryCancel();
  const absl::Status finished = rpc::FromGrpc(reader->Finish());
  return sunk.ok() ? finished : sunk;
}

absl::StatusOr<v1::ProgressResponse> CoordinatorClient::ReportProgress(
    const v1::ProgressRequest& request) {
  return Unary(&v1::NodeService::Stub::ReportProgress, request, kCallTimeout);
}

absl::StatusOr<v1::JoinCohortResponse> CoordinatorClient::JoinCohort(
    const v1::JoinCohortRequest& request) {
  return Unary(&v1::NodeService::Stub::JoinCohort, request, kPollTimeout);
}

absl::Status CoordinatorClient::SendSessionMessage(const v1::SessionMessage& message) {
  return Unary(&v1::NodeService::Stub::SendSessionMessage, message, kCallTimeout).status();
}

absl::StatusOr<v1::UploadAck> CoordinatorClient::UploadMaskedInput(
    const std::string& session_id, const std::string& header, uint32_t first, uint32_t count,
    absl::FunctionRef<absl::StatusOr<std::string>(uint32_t)> chunk) {
  Call call(*this, kTransferTimeout);
  v1::UploadAck ack;
  const auto writer = stub_->UploadMaskedInput(call.get(), &ack);
  v1::MaskedInputChunk message;
  message.set_session_id(session_id);
  message.set_body(header);
  bool open = writer->Write(message);
  for (uint32_t i = first; open && i < count; ++i) {
    absl::StatusOr<std::string> body = chunk(i);
    if (!body.ok()) {
      call.get()->TryCancel();
      static_cast<void>(writer->Finish());
      return body.status();
    }
    message.set_body(*std::move(body));
    open = writer->Write(message);
  }
  if (open) writer->WritesDone();
  CHOIR_RETURN_IF_ERROR(rpc::FromGrpc(writer->Finish()));
  return ack;
}

absl::StatusOr<v1::UploadAck> CoordinatorClient::QueryUpload(const std::string& session_id) {
  v1::QueryUploadRequest request;
  request.set_session_id(session_id);
  return Unary(&v1::NodeService::Stub::QueryUpload, request, kCallTimeout);
}

absl::StatusOr<v1::SessionBroadcast> CoordinatorClient::PollSession(const std::string& session_id,
                                                                    uint32_t after_stage) {
  v1::PollSessionRequest request;
  request.set_session_id(session_id);
  request.set_after_stage(after_stage);
  return Unary(&v1::NodeService::Stub::PollSession, request, kPollTimeout);
}

absl::StatusOr<v1::ListAdapterVersionsResponse> CoordinatorClient::ListAdapterVersions(
    const std::string& run_id, int64_t after_version) {
  v1::ListAdapterVersionsRequest request;
  request.set_run_id(run_id);
  request.set_after_version(after_version);
  return Unary(&v1::NodeService::Stub::ListAdapterVersions, request, kCallTimeout);
}

absl::StatusOr<v1::SignedDocument> CoordinatorClient::GetManifest() {
  CHOIR_ASSIGN_OR_RETURN(
      v1::GetManifestResponse response,
      Unary(&v1::NodeService::Stub::GetManifest, v1::GetManifestRequest(), kCallTimeout));
  return std::move(*response.mutable_manifest());
}

absl::StatusOr<v1::RenewedMembership> CoordinatorClient::RenewCertificate() {
  CHOIR_ASSIGN_OR_RETURN(
      v1::RenewCertificateResponse response,
      Unary(&v1::NodeService::Stub::RenewCertificate, v1::RenewCertificateRequest(), kCallTimeout));
  return std::move(*response.mutable_renewed());
}

void CoordinatorClient::Cancel() {
  const absl::MutexLock lock(&mu_);
  cancelled_ = true;
  for (grpc::ClientContext* context : calls_) context->TryCancel();
}

bool IsPassing(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status) ||
         absl::IsResourceExhausted(status);
}

}  // namespace choir::node
