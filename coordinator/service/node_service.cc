#include <utility>

#include "base/status_macros.h"
#include "coordinator/service/run_plan.h"
#include "coordinator/service/services.h"
#include "proto/rpc/credentials.h"

namespace choir::coordinator {
namespace {

// Small enough that a slow line, too, moves one within kStall (at 2.2 KB/s).
constexpr uint64_t kChunkBytes = uint64_t{256} << 10;
constexpr absl::Duration kStall = absl::Seconds(120);
// A masked input comes in chunks of up to 1 MiB.
constexpr absl::Duration kUploadStall = absl::Seconds(300);
// Two, so that a node that has lost its line may go on before the old stream is noticed. Together
// with the uploads well below the threads that a server may have.
constexpr size_t kDownloadsOfANode = 2;
constexpr size_t kMaxDownloads = 128;
constexpr size_t kMaxUploads = 96;
constexpr absl::Duration kLongestPoll = absl::Seconds(20);
// After a long poll without an answer the node may ask again at once.
constexpr uint32_t kPollAgainMs = 50;

// `value` into `response`, or why not.
template <typename T>
grpc::Status Answer(absl::StatusOr<T> value, T* response) {
  if (!value.ok()) return rpc::ToGrpc(value.status());
  *response = *std::move(value);
  return grpc::Status::OK;
}

// Answers a call when `attempt` has something, without a thread while it waits. `again` goes out
// when the time is over.
template <typename Response>
void AnswerWhenReady(LongPolls& polls, const std::string& topic, absl::Time deadline,
                     grpc::ServerUnaryReactor* reactor, Response* response, Response again,
                     std::function<absl::StatusOr<std::optional<Response>>()> attempt) {
  const auto try_once = [=](bool last) {
    absl::StatusOr<std::optional<Response>> found = attempt();
    if (!found.ok()) {
      reactor->Finish(rpc::ToGrpc(found.status()));
      return true;
    }
    if (!found->has_value() && !last) return false;
    *response = found->has_value() ? **std::move(found) : again;
    reactor->Finish(grpc::Status::OK);
    return true;
  };
  const absl::Status waiting = polls.Wait(topic, deadline, try_once);
  if (!waiting.ok()) reactor->Finish(rpc::ToGrpc(waiting));
}

}  // namespace

grpc::Status SendBlob(BlobStore& blobs, const v1::FetchBlobRequest& request,
                      grpc::ServerWriter<v1::BlobChunk>& writer,
                      const std::function<void()>& sent) {
  const absl::StatusOr<Digest> digest = DigestFrom(request.digest(), "digest");
  if (!digest.ok()) return rpc::ToGrpc(digest.status());
  const absl::StatusOr<BlobInfo> info = blobs.Stat(*digest);
  if (!info.ok()) return rpc::ToGrpc(info.status());
  uint64_t offset = request.offset();
  bool first = true;
  while (first || offset < info->stored_bytes) {
    absl::StatusOr<std::string> data = blobs.Read(*digest, offset, kChunkBytes);
    if (!data.ok()) return rpc::ToGrpc(data.status());
    v1::BlobChunk chunk;
    chunk.set_offset(offset);
    chunk.set_total_bytes(info->stored_bytes);
    offset += data->size();
    chunk.set_data(*std::move(data));
    if (!writer.Write(chunk)) return {grpc::StatusCode::CANCELLED, "the caller is gone"};
    sent();
    first = false;
  }
  return grpc::Status::OK;
}

grpc::Status EnrolmentServiceImpl::Enrol(grpc::ServerContext* /*context*/,
                                         const v1::EnrolRequest* request,
                                         v1::EnrolResponse* response) {
  return Answer(coordinator_.members().Enrol(*request), response);
}

NodeServiceImpl::NodeServiceImpl(Coordinator& coordinator)
    : coordinator_(coordinator),
      downloads_({"downloads", kDownloadsOfANode, kMaxDownloads, kStall, false}),
      uploads_({"uploads", 1, kMaxUploads, kUploadStall, true}) {}

void NodeServiceImpl::CancelStalled() {
  const absl::Time now = coordinator_.clock().Now();
  downloads_.CancelStalled(now);
  uploads_.CancelStalled(now);
}

absl::StatusOr<NodeId> NodeServiceImpl::Caller(const grpc::ServerContextBase& context) {
  CHOIR_ASSIGN_OR_RETURN(NodeId node, rpc::PeerNodeId(context));
  CHOIR_RETURN_IF_ERROR(coordinator_.members().Admit(node));
  return node;
}

grpc::Status NodeServiceImpl::CheckIn(grpc::ServerContext* context,
                                      const v1::CheckInRequest* request,
                                      v1::CheckInResponse* response) {
  const absl::StatusOr<NodeId> node = Caller(*context);
  if (!node.ok()) return rpc::ToGrpc(node.status());
  return Answer(coordinator_.CheckIn(*node, *request), response);
}

grpc::Status NodeServiceImpl::FetchBlob(grpc::ServerContext* context,
                                        const v1::FetchBlobRequest* request,
                                        grpc::ServerWriter<v1::BlobChunk>* writer) {
  const absl::StatusOr<NodeId> node = Caller(*context);
  if (!node.ok()) return rpc::ToGrpc(node.status());
  const auto place =
      downloads_.Take(*node, coordinator_.clock().Now(), [context] { context->TryCancel(); });
  if (!place.ok()) return rpc::ToGrpc(place.status());
  return SendBlob(coordinator_.blobs(), *request, *writer, [&] {
    (*place)->Moved(coordinator_.clock().Now());
    coordinator_.Touch(*node);
  });
}

grpc::Status NodeServiceImpl::ReportProgress(grpc::ServerContext* context,
                                             const v1::ProgressRequest* request,
                                             v1::ProgressResponse* response) {
  const absl::StatusOr<NodeId> node = Caller(*context);
  if (!node.ok()) return rpc::ToGrpc(node.status());
  return Answer(coordinator_.Report(*node, *request), response);
}

grpc::ServerUnaryReactor* NodeServiceImpl::JoinCohort(grpc::CallbackServerContext* context,
                                                      const v1::JoinCohortRequest* request,
                                                      v1::JoinCohortResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const absl::StatusOr<NodeId> node = Caller(*context);
  if (!node.ok()) {
    reactor->Finish(rpc::ToGrpc(node.status()));
    return reactor;
  }
  v1::JoinCohortResponse again;
  again.set_wait_ms(kPollAgainMs);
  AnswerWhenReady<v1::JoinCohortResponse>(
      coordinator_.polls(), RunTopic(request->run_id()),
      coordinator_.clock().Now() + coordinator_.JoinWait(request->run_id()), reactor, response,
      again, [this, node = *node, request] { return coordinator_.Join(node, *request); });
  return reactor;
}

grpc::Status NodeServiceImpl::SendSessionMessage(grpc::ServerContext* context,
                                                 const v1::SessionMessage* request,
                                                 v1::SessionAck* /*response*/) {
  const absl::StatusOr<NodeId> node = Caller(*context);
  if (!node.ok()) return rpc::ToGrpc(node.status());
  return rpc::ToGrpc(coordinator_.TakeMessage(*node, *request));
}

grpc::Status NodeServiceImpl::UploadMaskedInput(grpc::ServerContext* context,
                                                grpc::ServerReader<v1::MaskedInputChunk>* reader,
                                                v1::UploadAck* response) {
  const absl::StatusOr<NodeId> node = Caller(*context);
  if (!node.ok()) return rpc::ToGrpc(node.status());
  const auto place =
      uploads_.Take(*node, coordinator_.clock().Now(), [context] { context->TryCancel(); });
  if (!place.ok()) return rpc::ToGrpc(place.status());
  v1::MaskedInputChunk message;
  bool any = false;
  while (reader->Read(&message)) {
    any = true;
    (*place)->Moved(coordinator_.clock().Now());
    if (coordinator_.members().IsRevoked(*node)) {
      return {grpc::StatusCode::PERMISSION_DENIED, "this device has been revoked"};
    }
    absl::StatusOr<v1::UploadAck> ack = coordinator_.TakeUpload(*node, message);
    if (!ack.ok()) return rpc::ToGrpc(ack.status());
    *response = *std::move(ack);
  }
  if (any) return grpc::Status::OK;
  return {grpc::StatusCode::INVALID_ARGUMENT, "an upload begins with its header"};
}

grpc::Status NodeServiceImpl::QueryUpload(grpc::ServerContext* context,
                                          const v1::QueryUploadRequest* request,
                                          v1::UploadAck* response) {
  const absl::StatusOr<NodeId> node = Caller(*context);
  if (!node.ok()) return rpc::ToGrpc(node.status());
  return Answer(coordinator_.QueryUpload(*node, request->session_id()), response);
}

grpc::ServerUnaryReactor* NodeServiceImpl::PollSession(grpc::CallbackServerContext* context,
                                                       const v1::PollSessionRequest* request,
                                                       v1::SessionBroadcast* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const absl::StatusOr<NodeId> node = Caller(*context);
  if (!node.ok()) {
    reactor->Finish(rpc::ToGrpc(node.status()));
    return reactor;
  }
  v1::SessionBroadcast again;
  again.set_wait_ms(kPollAgainMs);
  AnswerWhenReady<v1::SessionBroadcast>(
      coordinator_.polls(), SessionTopic(request->session_id()),
      coordinator_.clock().Now() + kLongestPoll, reactor, response, again,
      [this, node = *node, request] { return coordinator_.Poll(node, *request); });
  return reactor;
}

grpc::Status NodeServiceImpl::ListAdapterVersions(grpc::ServerContext* context,
                                                  const v1::ListAdapterVersionsRequest* request,
                                                  v1::ListAdapterVersionsResponse* response) {
  const absl::StatusOr<NodeId> node = Caller(*context);
  if (!node.ok()) return rpc::ToGrpc(node.status());
  return Answer(coordinator_.ListVersions(*request), response);
}

grpc::Status NodeServiceImpl::GetManifest(grpc::ServerContext* context,
                                          const v1::GetManifestRequest* /*request*/,
                                          v1::GetManifestResponse* response) {
  const absl::StatusOr<NodeId> node = Caller(*context);
  if (!node.ok()) return rpc::ToGrpc(node.status());
  *response->mutable_manifest() = coordinator_.members().manifest_document();
  return grpc::Status::OK;
}

grpc::Status NodeServiceImpl::RenewCertificate(grpc::ServerContext* context,
                                               const v1::RenewCertificateRequest* /*request*/,
                                               v1::RenewCertificateResponse* response) {
  const absl::StatusOr<NodeId> node = Caller(*context);
  if (!node.ok()) return rpc::ToGrpc(node.status());
  return Answer(coordinator_.members().Renew(*node), response);
}

}  // namespace choir::coordinator
