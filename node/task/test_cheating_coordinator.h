#ifndef CHOIR_NODE_TASK_TEST_CHEATING_COORDINATOR_H_
#define CHOIR_NODE_TASK_TEST_CHEATING_COORDINATOR_H_

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include <grpcpp/grpcpp.h>

#include "choir/v1/node.grpc.pb.h"
#include "coordinator/service/coordinator.h"
#include "coordinator/service/driver.h"
#include "coordinator/service/test_federation.h"
#include "coordinator/service/test_node.h"
#include "proto/trust/session_trust.h"
#include "secure-agg/core/messages.h"
#include "secure-agg/core/result_chain.h"

// For tests: the real coordinator, and between it and one victim somebody with all of its keys who
// changes what the victim is told. The victim's calls are real ones, over mTLS.
namespace choir::node {

class CheatingCoordinator final : public v1::NodeService::Service {
 public:
  // Each changes what its call answers; unset: honest.
  struct Cheat {
    std::function<void(v1::RoundTask&)> task;
    std::function<void(v1::RunConfig&)> run;
    std::function<void(v1::AdapterVersion&)> version;
    bool sign_task = true;
    bool name_run = true;  // the task names the changed configuration
    std::function<void(secagg::SessionConfig&)> config;
    bool sign_config = true;
    // The victim's keys are kept from the others, and theirs come to it as if nothing were wrong.
    bool other_adapter = false;
    std::function<void(secagg::KeyList&)> keys;
    std::function<void(secagg::ShareDelivery&)> delivery;
    std::function<void(secagg::SurvivorList&)> survivors;
    std::function<void(secagg::SurvivorSignatures&)> signatures;
    std::function<void(secagg::RoundResult&)> result;
    bool sign_result = true;
    std::function<void(v1::ListAdapterVersionsResponse&)> history;
  };

  // Starts a run of one round among the victim and three honest nodes, and serves.
  CheatingCoordinator(const std::string& folder, const Clock& clock, RandomSource& random);
  ~CheatingCoordinator() override;

  // What the victim keeps of its enrolment.
  [[nodiscard]] v1::Membership Enrol();
  [[nodiscard]] const coordinator::TestNode& victim() const { return *victim_; }
  // One step of each honest node; false if none could do anything.
  bool StepPeers();

  // For cheats. An adapter that the victim can download.
  std::string Plant(const std::string& bytes);
  // Other bytes under a name that is theirs no more.
  void Replace(const std::string& digest, const std::string& bytes) { planted_[digest] = bytes; }
  [[nodiscard]] const trust::SigningKey& key() const { return federation_.coordinator_key; }
  // The honest node that bears this id, to sign what it never would.
  [[nodiscard]] const trust::SigningKey& KeyOf(const std::string& node_id) const;
  [[nodiscard]] const secagg::SessionConfig& config() const { return config_; }
  Cheat cheat;

  grpc::Status CheckIn(grpc::ServerContext* context, const v1::CheckInRequest* request,
                       v1::CheckInResponse* response) override;
  grpc::Status FetchBlob(grpc::ServerContext* context, const v1::FetchBlobRequest* request,
                         grpc::ServerWriter<v1::BlobChunk>* writer) override;
  grpc::Status ReportProgress(grpc::ServerContext* context, const v1::ProgressRequest* request,
                              v1::ProgressResponse* response) override;
  grpc::Status JoinCohort(grpc::ServerContext* context, const v1::JoinCohortRequest* request,
                          v1::JoinCohortResponse* response) override;
  grpc::Status SendSessionMessage(grpc::ServerContext* context, const v1::SessionMessage* request,
                                  v1::SessionAck* response) override;
  grpc::Status UploadMaskedInput(grpc::ServerContext* context,
                                 grpc::ServerReader<v1::MaskedInputChunk>* reader,
                                 v1::UploadAck* response) override;
  grpc::Status QueryUpload(grpc::ServerContext* context, const v1::QueryUploadRequest* request,
                           v1::UploadAck* response) override;
  grpc::Status PollSession(grpc::ServerContext* context, const v1::PollSessionRequest* request,
                           v1::SessionBroadcast* response) override;
  grpc::Status ListAdapterVersions(grpc::ServerContext* context,
                                   const v1::ListAdapterVersionsRequest* request,
                                   v1::ListAdapterVersionsResponse* response) override;
  grpc::Status GetManifest(grpc::ServerContext* context, const v1::GetManifestRequest* request,
                           v1::GetManifestResponse* response) override;

 private:
  v1::EnrolResponse EnrolNode(coordinator::TestNode& node);
  void Corrupt(v1::CheckInResponse::Task& task) const;
  void Corrupt(v1::SessionBroadcast& broadcast);
  // Keeps what the honest nodes are told of each other's keys, for the victim of `other_adapter`.
  void RecordKeys();
  absl::StatusOr<std::optional<v1::SessionBroadcast>> ForVictimApart(uint32_t after_stage);

  const Clock& clock_;
  RandomSource& random_;
  coordinator::TestFederation made_;
  coordinator::Federation federation_;
  trust::SessionSigner signer_{federation_.coordinator_key};
  std::unique_ptr<coordinator::Store> store_;
  std::unique_ptr<coordinator::BlobStore> blobs_;
  std::unique_ptr<coordinator::Coordinator> coordinator_;
  std::unique_ptr<coordinator::TestNode> victim_;
  v1::EnrolResponse victims_enrolment_;
  std::vector<std::unique_ptr<coordinator::TestNode>> peers_;
  std::map<std::string, std::string> planted_;
  secagg::SessionConfig config_;
  absl::Mutex mu_;
  std::string session_id_ ABSL_GUARDED_BY(mu_);
  std::optional<secagg::AdvertiseKeys> victims_keys_ ABSL_GUARDED_BY(mu_);
  std::optional<v1::SessionBroadcast> peers_keys_ ABSL_GUARDED_BY(mu_);
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
  std::optional<coordinator::Driver> driver_;
};

}  // namespace choir::node

#endif  // CHOIR_NODE_TASK_TEST_CHEATING_COORDINATOR_H_
