#ifndef CHOIR_COORDINATOR_SERVICE_RUN_ACTOR_H_
#define CHOIR_COORDINATOR_SERVICE_RUN_ACTOR_H_

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "base/clock.h"
#include "base/random.h"
#include "choir/v1/node.pb.h"
#include "choir/v1/operator.pb.h"
#include "choir/v1/run.pb.h"
#include "coordinator/blob/blob_store.h"
#include "coordinator/gate/evaluation.h"
#include "coordinator/privacy/run_privacy.h"
#include "coordinator/round/round_machine.h"
#include "coordinator/service/federation.h"
#include "coordinator/service/members.h"
#include "coordinator/service/session.h"
#include "coordinator/service/work.h"
#include "coordinator/store/store.h"
#include "coordinator/strategy/strategy.h"

namespace choir::coordinator {

// What all runs share. Outlives them.
struct RunContext {
  const Federation& federation;
  Members& members;
  Store& store;
  BlobStore& blobs;
  const Clock& clock;
  RandomSource& random;
  std::string spool;
  // The next session's round_counter; never the same twice, over all runs and restarts.
  std::function<uint64_t()> next_counter;
  // Something that waiters on this topic wait for has happened (RunTopic, SessionTopic).
  std::function<void(std::string)> changed;
  // Of the evaluation gate; empty: this coordinator has none.
  Evaluate evaluate{};
};

std::string RunTopic(std::string_view run_id);
std::string SessionTopic(std::string_view session_id);
// Whose pieces in the store the parts of a run's present round are.
std::string RoundOwner(std::string_view run_id);
// A node's or a session's id as the log has it: its first 16 hex digits.
std::string ShortId(std::string_view id);

// One run: its round machine, its sessions and its chain of adapter versions. Every event goes
// through the machine, becomes durable, and only then shows. Not thread-safe: the coordinator's
// lock is around every call.
class RunActor {
 public:
  // A new run from a complete configuration; durable. ALREADY_EXISTS.
  static absl::StatusOr<std::unique_ptr<RunActor>> Start(RunContext& context,
                                                         const v1::RunConfig& config);
  // A run of the store, where it was: leases and stage waits begin anew, sums are made again from
  // the spool.
  static absl::StatusOr<std::unique_ptr<RunActor>> Restore(RunContext& context,
                                                           const StoredRun& stored);

  // UNAVAILABLE if the run has no place for the node now.
  absl::StatusOr<v1::CheckInResponse::Task> GiveTask(const NodeId& node);
  // The node holds a lease or is in a session.
  [[nodiscard]] bool Holds(const NodeId& node) const;
  [[nodiscard]] std::optional<MemberState> StateOf(const NodeId& node) const;
  void Touch(const NodeId& node);
  // Takes a node's place away, wherever it is in the round. Fine if it has none.
  absl::Status Expel(const NodeId& node);
  // ABORTED if the round has gone on without the node.
  absl::StatusOr<v1::ProgressResponse> Report(const NodeId& node,
                                              const v1::ProgressRequest& request);
  // The session's configuration once there is a cohort; nothing: wait.
  absl::StatusOr<std::optional<std::string>> Join(const NodeId& node,
                                                  const v1::JoinCohortRequest& request);

  // Null if no open session has this id.
  Session* FindSession(std::string_view session_id);
  absl::Status TakeMessage(Session& session, const NodeRecord& from,
                           const v1::SessionMessage& message);
  // Counts a complete upload; durable when it returns.
  absl::Status CountUpload(Session& session, const Upload& upload);
  // Nothing: wait.
  [[nodiscard]] std::optional<v1::SessionBroadcast> Poll(const Session& session, const NodeId& node,
                                                         uint32_t after_stage) const;

  // Moves what time moves.
  void Tick();
  [[nodiscard]] absl::Time NextDeadline() const;
  // The next long computation of the lane (of any, if none is named), if one is due; its result
  // comes back through Complete().
  std::optional<Work> TakeWork(std::optional<WorkLane> lane);
  void Complete(WorkDone done);
  // Ends the run. Fine if it has ended.
  absl::Status Stop(const std::string& reason);

  [[nodiscard]] bool running() const { return record_.state == "running"; }
  [[nodiscard]] const v1::RunConfig& config() const { return config_; }
  [[nodiscard]] uint64_t round() const { return round_.round; }
  // A merge is at work, and what it has stored is not yet named by a version.
  [[nodiscard]] bool merging() const { return merging_; }
  [[nodiscard]] absl::Duration last_round() const { return last_round_; }
  [[nodiscard]] absl::StatusOr<v1::RunStatus> Status() const;

 private:
  explicit RunActor(RunContext& context) : context_(context) {}
  absl::Status TakeConfig(v1::SignedDocument document);
  absl::Status TakeVersion(const VersionRecord& record);
  absl::Status RestoreRound();
  absl::Status RestoreSessions();
  absl::Status RestoreSession(const SessionRecord& record);

  // From the node that holds this lease; `event` and `reason` are for the events.
  absl::Status FreePlace(const NodeId& node, const std::string& lease_id, std::string_view event,
                         std::string_view reason);
  // The machine's step, its effects, and all of it durable.
  absl::Status Do(const Event& event, Batch batch = {});
  absl::Status CarryOut(const RoundState& state, const std::vector<Effect>& effects, Batch& batch,
                        std::vector<std::unique_ptr<Session>>& opened);
  absl::Status Commit(RoundState next, Batch batch);
  // The parts of `next` that the store lacks. Of the present round's it has all but leases and
  // steps, which begin anew after a restart.
  [[nodiscard]] Batch::PieceWrite RoundChanges(const RoundState& next) const;
  // What a round's end means for the run.
  void CloseRound(const RoundState& ended, RunRecord& record, Batch& batch);
  void StopWithoutBudget(const RoundState& ended, RunRecord& record) const;
  void AfterRound(const RoundState& ended);
  // The configuration, but for ids and signature, of the sessions that start from a version.
  [[nodiscard]] secagg::SessionConfig ConfigAt(uint64_t version) const;
  // FAILED_PRECONDITION (kPrivacyBudgetExhausted) if the budget does not pay for a round.
  [[nodiscard]] absl::Status CheckBudget(uint64_t round, uint64_t version) const;
  absl::StatusOr<std::unique_ptr<Session>> OpenSession(const RoundState& state, uint32_t cohort);
  [[nodiscard]] Session::Place PlaceOf(const RoundState& state, uint32_t cohort,
                                       std::string_view session_id) const;
  [[nodiscard]] std::unique_ptr<trust::SessionVerifier> Verifier() const;
  // Advances a session and makes it durable; ends it if it failed.
  absl::Status Save(Session& session);
  [[nodiscard]] bool Awaits(const UnmaskDone& done) const;
  absl::Status OnUnmasked(const UnmaskDone& done);
  absl::Status OnMerged(const MergeDone& done);
  [[nodiscard]] MergeInput MergeInputNow() const;
  [[nodiscard]] absl::StatusOr<SessionRecord> Stored(std::string_view session_id) const;
  [[nodiscard]] v1::RoundStatus StatusOf(const RoundState& state) const;
  [[nodiscard]] std::string RoundFolder(uint64_t round) const;
  void Note(Batch& batch, std::string text) const;
  absl::Status Write(const Batch& batch);

  RunContext& context_;
  RunRecord record_;
  uint64_t revision_ = 0;
  v1::RunConfig config_;
  v1::SignedDocument config_document_;
  Digest config_digest_{};
  RoundPolicy policy_;
  std::unique_ptr<AggregationStrategy> strategy_;
  engine::Adapter shape_;  // the initial adapter: all versions have its shape
  v1::SignedDocument version_document_;
  v1::AdapterVersion version_;
  std::optional<secagg::ChainHead> head_;
  RunPrivacy privacy_ = RunPrivacy::Fresh(v1::RunConfig());

  RoundState round_;
  std::map<uint32_t, std::unique_ptr<Session>> sessions_;  // open ones, by cohort
  std::map<uint32_t, MergeInput::Cohort> sums_;
  // Sessions whose memory is ahead of the store, because a write failed: nothing of them shows.
  std::set<uint32_t> not_durable_;
  std::vector<WorkDone> undone_;  // results that could not be stored yet
  bool merging_ = false;          // the merge is at work
  bool stopping_ = false;
  // Of the present round.
  uint64_t received_bytes_ = 0;
  double mean_train_loss_ = 0;
  uint64_t trained_tokens_ = 0;
  uint32_t contributors_ = 0;
  std::vector<std::string> left_out_;
  // Nodes that lied about shares; they get no more work of this run. Not kept over a restart.
  std::set<NodeId> liars_;
  std::optional<double> held_out_nll_;
  absl::Duration last_round_;
};

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_SERVICE_RUN_ACTOR_H_
