#include <future>
#include <memory>
#include <utility>

#include "base/file.h"
#include "base/status_macros.h"
#include "coordinator/service/run_plan.h"
#include "coordinator/service/services.h"
#include "proto/rpc/credentials.h"

namespace choir::coordinator {
namespace {

// Each takes a thread of gRPC's pool.
constexpr int kMaxWatchers = 16;
constexpr absl::Duration kWatchWait = absl::Seconds(1);
// Of base models and adapters, either way.
constexpr size_t kStreamsOfAnOperator = 8;
constexpr size_t kMaxStreams = 16;
constexpr absl::Duration kStall = absl::Seconds(120);

// The blob that an upload is about: named by its first message.
struct UploadTarget {
  Digest digest{};
  uint64_t total_bytes = 0;
};

absl::StatusOr<v1::UploadBlobResponse> TakeBlob(BlobStore& blobs,
                                                grpc::ServerReader<v1::UploadBlobRequest>& reader,
                                                const std::function<void()>& received) {
  std::optional<UploadTarget> target;
  v1::UploadBlobRequest message;
  v1::UploadBlobResponse response;
  while (reader.Read(&message)) {
    received();
    if (!target.has_value()) {
      CHOIR_ASSIGN_OR_RETURN(const Digest digest, DigestFrom(message.digest(), "digest"));
      target = UploadTarget{digest, message.total_bytes()};
    }
    CHOIR_ASSIGN_OR_RETURN(
        const BlobInfo info,
        blobs.Put(target->digest, target->total_bytes, message.offset(), AsBytes(message.data())));
    response.set_stored_bytes(info.stored_bytes);
    response.set_complete(info.complete);
  }
  if (!target.has_value()) return absl::InvalidArgumentError("the upload is empty");
  return response;
}

// True when something happened to the run, or after a while.
void WaitForChange(LongPolls& polls, const std::string& run_id, absl::Time deadline) {
  // shared_ptr: the attempt outlives this call if the wait is refused half-way.
  auto happened = std::make_shared<std::promise<void>>();
  std::future<void> done = happened->get_future();
  const auto attempt = [happened, first = true](bool last) mutable {
    // The attempt that Wait() itself makes is no news.
    if (std::exchange(first, false) && !last) return false;
    happened->set_value();
    return true;
  };
  if (polls.Wait(RunTopic(run_id), deadline, attempt).ok()) done.wait();
}

}  // namespace

OperatorServiceImpl::OperatorServiceImpl(Coordinator& coordinator, std::string root_pem)
    : coordinator_(coordinator),
      root_pem_(std::move(root_pem)),
      streams_({"transfers", kStreamsOfAnOperator, kMaxStreams, kStall, false}) {}

void OperatorServiceImpl::CancelStalled() {
  streams_.CancelStalled(coordinator_.clock().Now());
}

absl::StatusOr<std::unique_ptr<StreamPlaces::Place>> OperatorServiceImpl::TakePlace(
    grpc::ServerContext* context) {
  CHOIR_RETURN_IF_ERROR(Admit(*context));
  CHOIR_ASSIGN_OR_RETURN(const std::string name, rpc::PeerCommonName(*context));
  return streams_.Take(name, coordinator_.clock().Now(), [context] { context->TryCancel(); });
}

absl::Status OperatorServiceImpl::Admit(const grpc::ServerContextBase& context) const {
  return rpc::RequireOperator(context, root_pem_, coordinator_.clock().Now());
}

template <typename T, typename Body>
grpc::Status OperatorServiceImpl::ForOperator(const grpc::ServerContext& context, T* response,
                                              Body body) const {
  if (const absl::Status allowed = Admit(context); !allowed.ok()) return rpc::ToGrpc(allowed);
  absl::StatusOr<T> value = body();
  if (!value.ok()) return rpc::ToGrpc(value.status());
  *response = *std::move(value);
  return grpc::Status::OK;
}

grpc::Status OperatorServiceImpl::CreateInvite(grpc::ServerContext* context,
                                               const v1::CreateInviteRequest* request,
                                               v1::CreateInviteResponse* response) {
  return ForOperator(*context, response,
                     [&] { return coordinator_.members().CreateInvite(request->valid_s()); });
}

grpc::Status OperatorServiceImpl::ListNodes(grpc::ServerContext* context,
                                            const v1::ListNodesRequest* /*request*/,
                                            v1::ListNodesResponse* response) {
  return ForOperator(*context, response, [&] { return coordinator_.ListNodes(); });
}

grpc::Status OperatorServiceImpl::UploadBlob(grpc::ServerContext* context,
                                             grpc::ServerReader<v1::UploadBlobRequest>* reader,
                                             v1::UploadBlobResponse* response) {
  const auto place = TakePlace(context);
  if (!place.ok()) return rpc::ToGrpc(place.status());
  return ForOperator(*context, response, [&] {
    return TakeBlob(coordinator_.blobs(), *reader,
                    [&] { (*place)->Moved(coordinator_.clock().Now()); });
  });
}

grpc::Status OperatorServiceImpl::StatBlob(grpc::ServerContext* context,
                                           const v1::StatBlobRequest* request,
                                           v1::StatBlobResponse* response) {
  return ForOperator(*context, response, [&]() -> absl::StatusOr<v1::StatBlobResponse> {
    CHOIR_ASSIGN_OR_RETURN(const Digest digest, DigestFrom(request->digest(), "digest"));
    CHOIR_ASSIGN_OR_RETURN(const BlobInfo info, coordinator_.blobs().Stat(digest));
    v1::StatBlobResponse out;
    out.set_stored_bytes(info.stored_bytes);
    out.set_complete(info.complete);
    return out;
  });
}

grpc::Status OperatorServiceImpl::FetchBlob(grpc::ServerContext* context,
                                            const v1::FetchBlobRequest* request,
                                            grpc::ServerWriter<v1::BlobChunk>* writer) {
  const auto place = TakePlace(context);
  if (!place.ok()) return rpc::ToGrpc(place.status());
  return SendBlob(coordinator_.blobs(), *request, *writer,
                  [&] { (*place)->Moved(coordinator_.clock().Now()); });
}

grpc::Status OperatorServiceImpl::StartRun(grpc::ServerContext* context,
                                           const v1::StartRunRequest* request,
                                           v1::RunStatus* response) {
  return ForOperator(*context, response, [&] { return coordinator_.StartRun(request->config()); });
}

grpc::Status OperatorServiceImpl::StopRun(grpc::ServerContext* context,
                                          const v1::StopRunRequest* request,
                                          v1::RunStatus* response) {
  return ForOperator(*context, response,
                     [&] { return coordinator_.StopRun(request->run_id(), request->reason()); });
}

grpc::Status OperatorServiceImpl::ListRuns(grpc::ServerContext* context,
                                           const v1::ListRunsRequest* /*request*/,
                                           v1::ListRunsResponse* response) {
  return ForOperator(*context, response, [&] { return coordinator_.ListRuns(); });
}

grpc::Status OperatorServiceImpl::GetRun(grpc::ServerContext* context,
                                         const v1::GetRunRequest* request,
                                         v1::RunStatus* response) {
  return ForOperator(*context, response, [&] { return coordinator_.GetRun(request->run_id()); });
}

grpc::Status OperatorServiceImpl::WatchRun(grpc::ServerContext* context,
                                           const v1::WatchRunRequest* request,
                                           grpc::ServerWriter<v1::RunStatus>* writer) {
  if (const absl::Status allowed = Admit(*context); !allowed.ok()) return rpc::ToGrpc(allowed);
  if (watchers_.fetch_add(1) >= kMaxWatchers) {
    watchers_.fetch_sub(1);
    return {grpc::StatusCode::RESOURCE_EXHAUSTED, "too many are watching; try again later"};
  }
  const auto leave = [](std::atomic<int>* watchers) { watchers->fetch_sub(1); };
  const std::unique_ptr<std::atomic<int>, decltype(leave)> place(&watchers_, leave);
  std::string last;
  while (!context->IsCancelled() && !stopping_) {
    const absl::StatusOr<v1::RunStatus> status = coordinator_.GetRun(request->run_id());
    if (!status.ok()) return rpc::ToGrpc(status.status());
    std::string now = status->SerializeAsString();
    if (now != last && !writer->Write(*status)) break;
    last = std::move(now);
    if (status->state() != "running") return grpc::Status::OK;
    WaitForChange(coordinator_.polls(), request->run_id(), coordinator_.clock().Now() + kWatchWait);
  }
  return {grpc::StatusCode::UNAVAILABLE, "the coordinator is stopping"};
}

grpc::Status OperatorServiceImpl::PublishManifest(grpc::ServerContext* context,
                                                  const v1::PublishManifestRequest* request,
                                                  v1::PublishManifestResponse* response) {
  return ForOperator(*context, response, [&]() -> absl::StatusOr<v1::PublishManifestResponse> {
    CHOIR_RETURN_IF_ERROR(coordinator_.PublishManifest(request->manifest()));
    return v1::PublishManifestResponse();
  });
}

grpc::Status OperatorServiceImpl::GetManifest(grpc::ServerContext* context,
                                              const v1::GetManifestRequest* /*request*/,
                                              v1::GetManifestResponse* response) {
  return ForOperator(*context, response, [&]() -> absl::StatusOr<v1::GetManifestResponse> {
    v1::GetManifestResponse out;
    *out.mutable_manifest() = coordinator_.members().manifest_document();
    return out;
  });
}

grpc::Status OperatorServiceImpl::ListAdapterVersions(grpc::ServerContext* context,
                                                      const v1::ListAdapterVersionsRequest* request,
                                                      v1::ListAdapterVersionsResponse* response) {
  return ForOperator(*context, response, [&] { return coordinator_.ListVersions(*request); });
}

}  // namespace choir::coordinator
