#ifndef CHOIR_COORDINATOR_SERVICE_SERVICES_H_
#define CHOIR_COORDINATOR_SERVICE_SERVICES_H_

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "choir/v1/enrolment.grpc.pb.h"
#include "choir/v1/node.grpc.pb.h"
#include "choir/v1/operator.grpc.pb.h"
#include "coordinator/service/coordinator.h"
#include "coordinator/service/stream_places.h"

// gRPC's side of the coordinator: who calls, may they, and statuses; the work is Coordinator's.
// Calls that may wait for long take no thread while they do; the others run on gRPC's pool.
namespace choir::coordinator {

class EnrolmentServiceImpl final : public v1::EnrolmentService::Service {
 public:
  explicit EnrolmentServiceImpl(Coordinator& coordinator) : coordinator_(coordinator) {}
  grpc::Status Enrol(grpc::ServerContext* context, const v1::EnrolRequest* request,
                     v1::EnrolResponse* response) override;

 private:
  Coordinator& coordinator_;
};

using NodeServiceBase = v1::NodeService::WithCallbackMethod_JoinCohort<
    v1::NodeService::WithCallbackMethod_PollSession<v1::NodeService::Service>>;

class NodeServiceImpl final : public NodeServiceBase {
 public:
  explicit NodeServiceImpl(Coordinator& coordinator);

  // Ends streams that have stood still for too long. To be called again and again.
  void CancelStalled();

  grpc::Status CheckIn(grpc::ServerContext* context, const v1::CheckInRequest* request,
                       v1::CheckInResponse* response) override;
  grpc::Status FetchBlob(grpc::ServerContext* context, const v1::FetchBlobRequest* request,
                         grpc::ServerWriter<v1::BlobChunk>* writer) override;
  grpc::Status ReportProgress(grpc::ServerContext* context, const v1::ProgressRequest* request,
                              v1::ProgressResponse* response) override;
  grpc::ServerUnaryReactor* JoinCohort(grpc::CallbackServerContext* context,
                                       const v1::JoinCohortRequest* request,
                                       v1::JoinCohortResponse* response) override;
  grpc::Status SendSessionMessage(grpc::ServerContext* context, const v1::SessionMessage* request,
                                  v1::SessionAck* response) override;
  grpc::Status UploadMaskedInput(grpc::ServerContext* context,
                                 grpc::ServerReader<v1::MaskedInputChunk>* reader,
                                 v1::UploadAck* response) override;
  grpc::Status QueryUpload(grpc::ServerContext* context, const v1::QueryUploadRequest* request,
                           v1::UploadAck* response) override;
  grpc::ServerUnaryReactor* PollSession(grpc::CallbackServerContext* context,
                                        const v1::PollSessionRequest* request,
                                        v1::SessionBroadcast* response) override;
  grpc::Status ListAdapterVersions(grpc::ServerContext* context,
                                   const v1::ListAdapterVersionsRequest* request,
                                   v1::ListAdapterVersionsResponse* response) override;
  grpc::Status GetManifest(grpc::ServerContext* context, const v1::GetManifestRequest* request,
                           v1::GetManifestResponse* response) override;
  grpc::Status RenewCertificate(grpc::ServerContext* context,
                                const v1::RenewCertificateRequest* request,
                                v1::RenewCertificateResponse* response) override;

 private:
  // The caller's id, if it may call.
  absl::StatusOr<NodeId> Caller(const grpc::ServerContextBase& context);
  Coordinator& coordinator_;
  StreamPlaces downloads_;
  StreamPlaces uploads_;
};

class OperatorServiceImpl final : public v1::OperatorService::Service {
 public:
  // `root_pem`: of the federation's authority; operators' certificates come from it directly.
  OperatorServiceImpl(Coordinator& coordinator, std::string root_pem);

  // Ends the streams of WatchRun.
  void StopWatching() { stopping_ = true; }
  // Ends streams that have stood still for too long. To be called again and again.
  void CancelStalled();

  grpc::Status CreateInvite(grpc::ServerContext* context, const v1::CreateInviteRequest* request,
                            v1::CreateInviteResponse* response) override;
  grpc::Status ListNodes(grpc::ServerContext* context, const v1::ListNodesRequest* request,
                         v1::ListNodesResponse* response) override;
  grpc::Status UploadBlob(grpc::ServerContext* context,
                          grpc::ServerReader<v1::UploadBlobRequest>* reader,
                          v1::UploadBlobResponse* response) override;
  grpc::Status StatBlob(grpc::ServerContext* context, const v1::StatBlobRequest* request,
                        v1::StatBlobResponse* response) override;
  grpc::Status FetchBlob(grpc::ServerContext* context, const v1::FetchBlobRequest* request,
                         grpc::ServerWriter<v1::BlobChunk>* writer) override;
  grpc::Status StartRun(grpc::ServerContext* context, const v1::StartRunRequest* request,
                        v1::RunStatus* response) override;
  grpc::Status StopRun(grpc::ServerContext* context, const v1::StopRunRequest* request,
                       v1::RunStatus* response) override;
  grpc::Status ListRuns(grpc::ServerContext* context, const v1::ListRunsRequest* request,
                        v1::ListRunsResponse* response) override;
  grpc::Status GetRun(grpc::ServerContext* context, const v1::GetRunRequest* request,
                      v1::RunStatus* response) override;
  grpc::Status WatchRun(grpc::ServerContext* context, const v1::WatchRunRequest* request,
                        grpc::ServerWriter<v1::RunStatus>* writer) override;
  grpc::Status PublishManifest(grpc::ServerContext* context,
                               const v1::PublishManifestRequest* request,
                               v1::PublishManifestResponse* response) override;
  grpc::Status GetManifest(grpc::ServerContext* context, const v1::GetManifestRequest* request,
                           v1::GetManifestResponse* response) override;
  grpc::Status ListAdapterVersions(grpc::ServerContext* context,
                                   const v1::ListAdapterVersionsRequest* request,
                                   v1::ListAdapterVersionsResponse* response) override;

 private:
  // PERMISSION_DENIED unless an operator calls.
  [[nodiscard]] absl::Status Admit(const grpc::ServerContextBase& context) const;
  // A place for a stream of the caller's, if it is an operator.
  absl::StatusOr<std::unique_ptr<StreamPlaces::Place>> TakePlace(grpc::ServerContext* context);
  // `body`'s value becomes the answer, if an operator calls.
  template <typename T, typename Body>
  grpc::Status ForOperator(const grpc::ServerContext& context, T* response, Body body) const;

  Coordinator& coordinator_;
  const std::string root_pem_;
  StreamPlaces streams_;
  std::atomic<int> watchers_ = 0;
  std::atomic<bool> stopping_ = false;
};

// Sends a blob from `request.offset` on in chunks of at most 256 KiB; `sent` is called after each.
grpc::Status SendBlob(BlobStore& blobs, const v1::FetchBlobRequest& request,
                      grpc::ServerWriter<v1::BlobChunk>& writer, const std::function<void()>& sent);

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_SERVICE_SERVICES_H_
