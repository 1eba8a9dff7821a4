#ifndef CHOIR_NODE_TASK_COORDINATOR_CLIENT_H_
#define CHOIR_NODE_TASK_COORDINATOR_CLIENT_H_

// The coordinator's calls, as plain functions with deadlines. Thread-safe; Cancel() ends what is
// under way, from any thread.

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <span>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

#include "base/sha256.h"
#include "choir/v1/node.grpc.pb.h"
#include "proto/rpc/credentials.h"

namespace choir::node {

class CoordinatorClient {
 public:
  CoordinatorClient(const std::string& address, const std::string& root_pem,
                    const rpc::TlsIdentity& identity);

  absl::StatusOr<v1::CheckInResponse> CheckIn(const v1::CheckInRequest& request);
  // `sink` gets chunks in order from `offset` on; its error ends the call.
  absl::Status FetchBlob(const Digest& digest, uint64_t offset,
                         absl::FunctionRef<absl::Status(const v1::BlobChunk&)> sink);
  absl::StatusOr<v1::ProgressResponse> ReportProgress(const v1::ProgressRequest& request);
  absl::StatusOr<v1::JoinCohortResponse> JoinCohort(const v1::JoinCohortRequest& request);
  absl::Status SendSessionMessage(const v1::SessionMessage& message);
  // Sends the header and chunks [first, count) that `chunk` makes.
  absl::StatusOr<v1::UploadAck> UploadMaskedInput(
      const std::string& session_id, const std::string& header, uint32_t first, uint32_t count,
      absl::FunctionRef<absl::StatusOr<std::string>(uint32_t)> chunk);
  absl::StatusOr<v1::UploadAck> QueryUpload(const std::string& session_id);
  absl::StatusOr<v1::SessionBroadcast> PollSession(const std::string& session_id,
                                                   uint32_t after_stage);
  absl::StatusOr<v1::ListAdapterVersionsResponse> ListAdapterVersions(const std::string& run_id,
                                                                      int64_t after_version);
  absl::StatusOr<v1::SignedDocument> GetManifest();
  absl::StatusOr<v1::RenewedMembership> RenewCertificate();

  // Every call under way ends with CANCELLED, and so does every later one.
  void Cancel();

 private:
  // A context that Cancel() knows while it lives.
  class Call;
  template <typename Request, typename Response>
  absl::StatusOr<Response> Unary(grpc::Status (v1::NodeService::Stub::*method)(grpc::ClientContext*,
                                                                               const Request&,
                                                                               Response*),
                                 const Request& request, absl::Duration timeout);

  std::unique_ptr<v1::NodeService::Stub> stub_;
  absl::Mutex mu_;
  std::set<grpc::ClientContext*> calls_ ABSL_GUARDED_BY(mu_);
  bool cancelled_ ABSL_GUARDED_BY(mu_) = false;
};

// Is it worth trying the same call again? True for a lost connection, a busy or restarting
// coordinator.
bool IsPassing(const absl::Status& status);

}  // namespace choir::node

#endif  // CHOIR_NODE_TASK_COORDINATOR_CLIENT_H_
