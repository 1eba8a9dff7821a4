#ifndef CHOIR_COORDINATOR_SERVICE_COORDINATOR_H_
#define CHOIR_COORDINATOR_SERVICE_COORDINATOR_H_

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

#include "base/clock.h"
#include "base/random.h"
#include "choir/v1/node.pb.h"
#include "choir/v1/operator.pb.h"
#include "coordinator/blob/blob_store.h"
#include "coordinator/service/federation.h"
#include "coordinator/service/long_polls.h"
#include "coordinator/service/members.h"
#include "coordinator/service/retention.h"
#include "coordinator/service/run_actor.h"
#include "coordinator/store/store.h"

namespace choir::coordinator {

// All that the services do, without gRPC: one lock around the runs, long polls and long work
// outside it. Thread-safe. Some threads must call Tick(), DoWork() for each lane and SweepIfDue()
// again and again.
class Coordinator {
 public:
  // Continues every run of the store. All references must outlive it. DATA_LOSS names what is
  // damaged; nothing starts afresh by itself.
  static absl::StatusOr<std::unique_ptr<Coordinator>> Open(const Federation& federation,
                                                           const DataFolder& folder, Store& store,
                                                           BlobStore& blobs, const Clock& clock,
                                                           RandomSource& random);

  // ---- What nodes ask for. `node` is who the transport says it is, and was admitted.
  absl::StatusOr<v1::CheckInResponse> CheckIn(const NodeId& node,
                                              const v1::CheckInRequest& request);
  absl::StatusOr<v1::ProgressResponse> Report(const NodeId& node,
                                              const v1::ProgressRequest& request);
  // Nothing: wait on the topic.
  absl::StatusOr<std::optional<v1::JoinCohortResponse>> Join(const NodeId& node,
                                                             const v1::JoinCohortRequest& request);
  absl::StatusOr<std::optional<v1::SessionBroadcast>> Poll(const NodeId& node,
                                                           const v1::PollSessionRequest& request);
  absl::Status TakeMessage(const NodeId& node, const v1::SessionMessage& message);
  // A header or a chunk of a masked input, in its encoding.
  absl::StatusOr<v1::UploadAck> TakeUpload(const NodeId& node, const v1::MaskedInputChunk& message);
  absl::StatusOr<v1::UploadAck> QueryUpload(const NodeId& node, std::string_view session_id);
  // The node downloads: a sign of life.
  void Touch(const NodeId& node);
  // How long a Join or Poll call may be kept waiting.
  [[nodiscard]] absl::Duration JoinWait(std::string_view run_id) const;

  // Who evaluates for the gates of runs; without, runs with a gate are refused. Before any call.
  void SetEvaluate(Evaluate evaluate);

  // What is kept of blobs that nothing needs any more. Before any call.
  void SetRetention(const RetentionPolicy& policy);

  // ---- What operators ask for.
  absl::StatusOr<v1::RunStatus> StartRun(v1::RunConfig config);
  absl::StatusOr<v1::RunStatus> StopRun(const std::string& run_id, const std::string& reason);
  absl::StatusOr<v1::RunStatus> GetRun(const std::string& run_id) const;
  absl::StatusOr<v1::ListRunsResponse> ListRuns() const;
  absl::StatusOr<v1::ListNodesResponse> ListNodes() const;
  // As OperatorService.PublishManifest says. Nodes that it revokes lose their places in rounds.
  absl::Status PublishManifest(const v1::SignedDocument& document);
  // As many as one message holds, at least one if there is any left: the caller goes on from there.
  absl::StatusOr<v1::ListAdapterVersionsResponse> ListVersions(
      const v1::ListAdapterVersionsRequest& request) const;

  // ---- Time and work.
  // Moves what time moves, and answers long polls.
  void Tick();
  // Does one long computation of the lane (of any, if none is named), if one is due: true if it
  // did.
  bool DoWork(std::optional<WorkLane> lane = std::nullopt);
  // Waits until something may be due in the lane, at most `limit`.
  void WaitForWork(WorkLane lane, absl::Duration limit);
  // Deletes what the retention policy no longer keeps, if an hour has passed since it last did.
  void SweepIfDue();
  // Answers everybody who waits; from now on nobody is kept waiting.
  void StopWaiting();

  Members& members() { return *members_; }
  LongPolls& polls() { return polls_; }
  BlobStore& blobs() { return blobs_; }
  [[nodiscard]] const Clock& clock() const { return clock_; }

 private:
  // Deletes blobs and spools; nothing while a merge is at work. True if it did.
  absl::StatusOr<bool> Sweep() ABSL_EXCLUSIVE_LOCKS_REQUIRED(sweep_mu_);

  Coordinator(const Federation& federation, const DataFolder& folder, Store& store,
              BlobStore& blobs, const Clock& clock, RandomSource& random,
              std::unique_ptr<Members> members);

  // Holds the lock for one call; wakes those who wait for what it changed, once the lock is gone.
  class Turn;

  RunActor* FindRun(const std::string& run_id) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The run and its open session; nulls if none has the id.
  std::pair<RunActor*, Session*> FindSession(std::string_view session_id) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<SessionRecord> ClosedSession(std::string_view session_id) const;
  absl::StatusOr<v1::CheckInResponse> ComeBack(std::string reason)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<std::optional<v1::CheckInResponse::Task>> GiveTask(
      const NodeId& node, const v1::CheckInRequest& request, std::string& reason)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<v1::UploadAck> TakeHeader(const NodeId& node, const v1::MaskedInputChunk& message);
  absl::StatusOr<v1::UploadAck> TakeChunk(const NodeId& node, const v1::MaskedInputChunk& message);
  // If the run is there already: its status, or ALREADY_EXISTS for another configuration.
  absl::StatusOr<std::optional<v1::RunStatus>> KnownRun(const v1::RunConfig& config) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const Federation& federation_;
  Store& store_;
  BlobStore& blobs_;
  const Clock& clock_;
  RandomSource& random_;
  const std::unique_ptr<Members> members_;
  LongPolls polls_;

  mutable absl::Mutex mu_;
  RunContext context_ ABSL_GUARDED_BY(mu_);
  uint64_t last_counter_ ABSL_GUARDED_BY(mu_) = 0;
  std::map<std::string, std::unique_ptr<RunActor>> runs_ ABSL_GUARDED_BY(mu_);
  std::vector<std::string> run_order_ ABSL_GUARDED_BY(mu_);
  std::set<std::string> changed_ ABSL_GUARDED_BY(mu_);
  std::array<bool, kWorkLanes> work_due_ ABSL_GUARDED_BY(mu_) = {true, true};
  absl::Time flushed_ ABSL_GUARDED_BY(mu_);

  absl::Mutex sweep_mu_ ABSL_ACQUIRED_BEFORE(mu_);
  BlobsInUse in_use_ ABSL_GUARDED_BY(sweep_mu_);
  RetentionPolicy retention_ ABSL_GUARDED_BY(sweep_mu_);
  absl::Time next_sweep_ ABSL_GUARDED_BY(sweep_mu_) = absl::InfinitePast();
};

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_SERVICE_COORDINATOR_H_
