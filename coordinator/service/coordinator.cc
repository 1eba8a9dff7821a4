#include "coordinator/service/coordinator.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "base/file.h"
#include "base/hex.h"
#include "base/status_macros.h"
#include "coordinator/round/pacing.h"
#include "coordinator/service/run_plan.h"
#include "proto/trust/session_trust.h"
#include "secure-agg/core/abort_reason.h"

namespace choir::coordinator {
namespace {

constexpr uint32_t kUnmaskShares = 11;
constexpr uint8_t kInputHeader = 6;
constexpr uint8_t kInputChunk = 7;
constexpr size_t kSessionIdBytes = 16;
constexpr uint32_t kMaxVersions = 100;
// Of the versions in one answer: half of what a message may have. A single version stays far below.
constexpr size_t kMaxVersionsBytes = size_t{2} << 20;
constexpr absl::Duration kLongestPoll = absl::Seconds(20);
constexpr absl::Duration kFlushEvery = absl::Minutes(1);
constexpr absl::Duration kSweepEvery = absl::Hours(1);

absl::Status CheckSessionId(std::string_view id) {
  if (id.size() == kSessionIdBytes) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format("a session id of {} bytes, not 16", id.size()));
}

absl::Status Over() {
  return secagg::Refusal(secagg::AbortReason::kSessionOver, "the session has ended");
}

double UnitFrom(RandomSource& random) {
  std::array<uint8_t, 4> bytes{};
  random.Fill(bytes);
  uint32_t value = 0;
  std::memcpy(&value, bytes.data(), sizeof(value));
  return static_cast<double>(value) / 4294967296.0;
}

size_t BytesOf(const VersionRecord& record) {
  size_t bytes = record.document.size();
  for (const std::string& result : record.results) bytes += result.size();
  return bytes;
}

// What an operator left to the coordinator, or what it fills in by itself, is no difference.
std::string Comparable(v1::RunConfig config) {
  config.clear_created_unix_s();
  config.clear_not_after_unix_s();
  return config.SerializeAsString();
}

}  // namespace

class ABSL_SCOPED_LOCKABLE Coordinator::Turn {
 public:
  explicit Turn(Coordinator& coordinator) ABSL_EXCLUSIVE_LOCK_FUNCTION(coordinator.mu_)
      : coordinator_(coordinator) {
    coordinator_.mu_.Lock();
  }
  ~Turn() ABSL_UNLOCK_FUNCTION() {
    std::set<std::string> changed = std::move(coordinator_.changed_);
    coordinator_.changed_.clear();
    if (!changed.empty()) coordinator_.work_due_.fill(true);
    coordinator_.mu_.Unlock();
    for (const std::string& topic : changed) coordinator_.polls_.Notify(topic);
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  Coordinator& coordinator_;
};

Coordinator::Coordinator(const Federation& federation, const DataFolder& folder, Store& store,
                         BlobStore& blobs, const Clock& clock, RandomSource& random,
                         std::unique_ptr<Members> members)
    : federation_(federation),
      store_(store),
      blobs_(blobs),
      clock_(clock),
      random_(random),
      members_(std::move(members)),
      context_{federation,
               *members_,
               store,
               blobs,
               clock,
               random,
               folder.Spool(),
               // Called by runs, which only run under the lock.
               [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return ++last_counter_; },
               [this](std::string topic)
                   ABSL_NO_THREAD_SAFETY_ANALYSIS { changed_.insert(std::move(topic)); },
               {}},
      flushed_(clock.Now()) {}

absl::StatusOr<std::unique_ptr<Coordinator>> Coordinator::Open(const Federation& federation,
                                                               const DataFolder& folder,
                                                               Store& store, BlobStore& blobs,
                                                               const Clock& clock,
                                                               RandomSource& random) {
  CHOIR_RETURN_IF_ERROR(MakeDirectories(folder.Spool(), 0700));
  CHOIR_ASSIGN_OR_RETURN(std::unique_ptr<Members> members,
                         Members::Open(federation, folder, store, clock, random));
  CHOIR_ASSIGN_OR_RETURN(const uint64_t last_counter, store.LastSessionCounter());
  CHOIR_ASSIGN_OR_RETURN(const std::vector<StoredRun> runs, store.ListRuns());
  std::unique_ptr<Coordinator> coordinator(
      new Coordinator(federation, folder, store, blobs, clock, random, std::move(members)));
  absl::MutexLock lock(&coordinator->mu_);
  coordinator->last_counter_ = last_counter;
  for (const StoredRun& stored : runs) {
    CHOIR_ASSIGN_OR_RETURN(coordinator->runs_[stored.record.run_id],
                           RunActor::Restore(coordinator->context_, stored));
    coordinator->run_order_.push_back(stored.record.run_id);
  }
  return coordinator;
}

RunActor* Coordinator::FindRun(const std::string& run_id) const {
  const auto it = runs_.find(run_id);
  return it == runs_.end() ? nullptr : it->second.get();
}

std::pair<RunActor*, Session*> Coordinator::FindSession(std::string_view session_id) const {
  for (const auto& [id, run] : runs_) {
    if (Session* session = run->FindSession(session_id)) return {run.get(), session};
  }
  return {nullptr, nullptr};
}

absl::StatusOr<SessionRecord> Coordinator::ClosedSession(std::string_view session_id) const {
  CHOIR_ASSIGN_OR_RETURN(std::optional<SessionRecord> record, store_.GetSession(session_id));
  if (!record.has_value()) {
    return secagg::Refusal(absl::StatusCode::kNotFound, secagg::AbortReason::kForeignSession,
                           "there is no such session");
  }
  return *std::move(record);
}

// ---- Nodes -----------------------------------------------------------------------------------

absl::StatusOr<v1::CheckInResponse> Coordinator::ComeBack(std::string reason) {
  PaceInputs pace;
  pace.enrolled_nodes = members_->Count();
  for (const auto& [id, run] : runs_) {
    if (run->running()) pace.last_round = std::max(pace.last_round, run->last_round());
  }
  v1::CheckInResponse response;
  response.set_come_back_after_ms(
      static_cast<uint32_t>(absl::ToInt64Milliseconds(ComeBackAfter(pace, UnitFrom(random_)))));
  response.set_reason(std::move(reason));
  return response;
}

absl::StatusOr<std::optional<v1::CheckInResponse::Task>> Coordinator::GiveTask(
    const NodeId& node, const v1::CheckInRequest& request, std::string& reason) {
  // First where the node is busy already; then runs whose model it has; then the others.
  const auto rank = [&](const RunActor& run) {
    if (run.Holds(node)) return 0;
    const auto& have = request.base_model_digests();
    return std::find(have.begin(), have.end(), run.config().base_model_digest()) != have.end() ? 1
                                                                                               : 2;
  };
  std::vector<RunActor*> runs;
  for (const std::string& id : run_order_) {
    if (RunActor* run = FindRun(id); run->running()) runs.push_back(run);
  }
  std::stable_sort(runs.begin(), runs.end(),
                   [&](const RunActor* a, const RunActor* b) { return rank(*a) < rank(*b); });
  reason = "no run is going on";
  for (RunActor* run : runs) {
    absl::StatusOr<v1::CheckInResponse::Task> task = run->GiveTask(node);
    if (task.ok()) return *std::move(task);
    if (task.status().code() != absl::StatusCode::kUnavailable) return task.status();
    reason = std::string(task.status().message());
  }
  return std::nullopt;
}

absl::StatusOr<v1::CheckInResponse> Coordinator::CheckIn(const NodeId& node,
                                                         const v1::CheckInRequest& request) {
  Turn turn(*this);
  std::string reason;
  CHOIR_ASSIGN_OR_RETURN(std::optional<v1::CheckInResponse::Task> task,
                         GiveTask(node, request, reason));
  v1::CheckInResponse response;
  if (task.has_value()) {
    *response.mutable_task() = *std::move(task);
  } else {
    CHOIR_ASSIGN_OR_RETURN(response, ComeBack(std::move(reason)));
  }
  response.set_manifest_serial(members_->manifest_serial());
  return response;
}

absl::StatusOr<v1::ProgressResponse> Coordinator::Report(const NodeId& node,
                                                         const v1::ProgressRequest& request) {
  Turn turn(*this);
  RunActor* run = FindRun(request.run_id());
  if (run == nullptr) return absl::NotFoundError("there is no such run");
  return run->Report(node, request);
}

absl::StatusOr<std::optional<v1::JoinCohortResponse>> Coordinator::Join(
    const NodeId& node, const v1::JoinCohortRequest& request) {
  Turn turn(*this);
  RunActor* run = FindRun(request.run_id());
  if (run == nullptr) return absl::NotFoundError("there is no such run");
  CHOIR_ASSIGN_OR_RETURN(std::optional<std::string> config, run->Join(node, request));
  if (!config.has_value()) return std::nullopt;
  v1::JoinCohortResponse response;
  response.set_session_config(*std::move(config));
  return response;
}

absl::StatusOr<std::optional<v1::SessionBroadcast>> Coordinator::Poll(
    const NodeId& node, const v1::PollSessionRequest& request) {
  CHOIR_RETURN_IF_ERROR(CheckSessionId(request.session_id()));
  Turn turn(*this);
  const auto [run, session] = FindSession(request.session_id());
  if (session != nullptr) {
    if (!session->IsMember(node)) {
      return secagg::Refusal(secagg::AbortReason::kUnknownMember,
                             "this node is not of the session's cohort");
    }
    return run->Poll(*session, node, request.after_stage());
  }
  CHOIR_ASSIGN_OR_RETURN(const SessionRecord record, ClosedSession(request.session_id()));
  v1::SessionBroadcast broadcast;
  if (!record.abort_reason.empty()) {
    broadcast.set_aborted_reason(record.abort_reason);
    return broadcast;
  }
  CHOIR_ASSIGN_OR_RETURN(const secagg::RoundResult result,
                         secagg::DecodeRoundResult(AsBytes(record.result)));
  // A sum that is not merged yet has no signature.
  if (result.signature == secagg::Signature{}) return std::nullopt;
  v1::SessionBroadcast::Message& message = *broadcast.mutable_message();
  message.set_stage(static_cast<uint32_t>(trust::SessionStage::kRoundResult));
  message.set_kind(static_cast<uint8_t>(record.result[0]));
  message.set_body(record.result);
  return broadcast;
}

absl::Status Coordinator::TakeMessage(const NodeId& node, const v1::SessionMessage& message) {
  CHOIR_RETURN_IF_ERROR(CheckSessionId(message.session_id()));
  const std::optional<NodeRecord> record = members_->Find(node);
  if (!record.has_value()) return absl::PermissionDeniedError("this device is not enrolled");
  Turn turn(*this);
  const auto [run, session] = FindSession(message.session_id());
  if (session != nullptr) return run->TakeMessage(*session, *record, message);
  CHOIR_ASSIGN_OR_RETURN(const SessionRecord closed, ClosedSession(message.session_id()));
  // The last answer again, or one that came after enough others: the sum does not need it.
  const bool has_sum = closed.abort_reason.empty();
  return has_sum && message.kind() == kUnmaskShares ? absl::OkStatus() : Over();
}

absl::StatusOr<v1::UploadAck> Coordinator::TakeHeader(const NodeId& node,
                                                      const v1::MaskedInputChunk& message) {
  Turn turn(*this);
  const auto [run, session] = FindSession(message.session_id());
  if (session == nullptr) return Over();
  CHOIR_ASSIGN_OR_RETURN(const std::shared_ptr<Upload> upload,
                         session->BeginUpload(node, AsBytes(message.body()), clock_.Now()));
  v1::UploadAck ack;
  ack.set_next_chunk(upload->next_chunk());
  ack.set_complete(upload->complete());
  if (ack.complete()) CHOIR_RETURN_IF_ERROR(run->CountUpload(*session, *upload));
  return ack;
}

absl::StatusOr<v1::UploadAck> Coordinator::TakeChunk(const NodeId& node,
                                                     const v1::MaskedInputChunk& message) {
  CHOIR_ASSIGN_OR_RETURN(const secagg::MaskedInputChunk chunk,
                         secagg::DecodeMaskedInputChunk(AsBytes(message.body())));
  std::shared_ptr<Upload> upload;
  {
    Turn turn(*this);
    const auto [run, session] = FindSession(message.session_id());
    if (session == nullptr) return Over();
    upload = session->FindUpload(node);
  }
  if (upload == nullptr) {
    return secagg::Refusal(secagg::AbortReason::kUnexpectedMessage,
                           "send the header of the masked input first");
  }
  // Without the lock: many nodes' chunks reach the disk at once.
  CHOIR_RETURN_IF_ERROR(upload->Append(chunk, clock_.Now()));
  v1::UploadAck ack;
  ack.set_next_chunk(upload->next_chunk());
  ack.set_complete(upload->complete());
  if (!ack.complete()) return ack;
  Turn turn(*this);
  const auto [run, session] = FindSession(message.session_id());
  if (session == nullptr) return Over();
  CHOIR_RETURN_IF_ERROR(run->CountUpload(*session, *upload));
  return ack;
}

absl::StatusOr<v1::UploadAck> Coordinator::TakeUpload(const NodeId& node,
                                                      const v1::MaskedInputChunk& message) {
  CHOIR_RETURN_IF_ERROR(CheckSessionId(message.session_id()));
  const uint8_t kind =
      message.body().empty() ? uint8_t{0} : static_cast<uint8_t>(message.body()[0]);
  if (kind == kInputHeader) return TakeHeader(node, message);
  if (kind == kInputChunk) return TakeChunk(node, message);
  return secagg::Refusal(secagg::AbortReason::kMalformedMessage,
                         fmt::format("kind {} is no part of a masked input", kind));
}

absl::StatusOr<v1::UploadAck> Coordinator::QueryUpload(const NodeId& node,
                                                       std::string_view session_id) {
  CHOIR_RETURN_IF_ERROR(CheckSessionId(session_id));
  Turn turn(*this);
  const auto [run, session] = FindSession(session_id);
  v1::UploadAck ack;
  if (session == nullptr) {
    CHOIR_RETURN_IF_ERROR(ClosedSession(session_id).status());
    return Over();
  }
  const std::shared_ptr<Upload> upload = session->FindUpload(node);
  if (upload == nullptr) return ack;
  ack.set_next_chunk(upload->next_chunk());
  ack.set_complete(upload->complete());
  if (ack.complete()) CHOIR_RETURN_IF_ERROR(run->CountUpload(*session, *upload));
  return ack;
}

void Coordinator::Touch(const NodeId& node) {
  Turn turn(*this);
  for (const auto& [id, run] : runs_) run->Touch(node);
}

absl::Duration Coordinator::JoinWait(std::string_view run_id) const {
  absl::MutexLock lock(&mu_);
  const RunActor* run = FindRun(std::string(run_id));
  if (run == nullptr) return kLongestPoll;
  // A node that waits is alive: it must come back before its lease ends.
  return std::min(kLongestPoll, absl::Seconds(run->config().pacing().training_wait_s()) / 2);
}

// ---- Operators -------------------------------------------------------------------------------

absl::StatusOr<std::optional<v1::RunStatus>> Coordinator::KnownRun(
    const v1::RunConfig& config) const {
  const RunActor* run = FindRun(config.run_id());
  if (run == nullptr) return std::nullopt;
  if (Comparable(run->config()) == Comparable(config)) return run->Status();
  return absl::AlreadyExistsError(
      fmt::format("run {} exists with another configuration; choose another id", config.run_id()));
}

absl::StatusOr<v1::RunStatus> Coordinator::StartRun(v1::RunConfig config) {
  CHOIR_ASSIGN_OR_RETURN(
      const v1::RunConfig complete,
      CompleteRunConfig(std::move(config), members_->manifest(), blobs_, clock_.Now()));
  Turn turn(*this);
  // Nothing needed them until now: a sweep may have come between.
  CHOIR_RETURN_IF_ERROR(CheckRunBlobs(complete, blobs_));
  CHOIR_ASSIGN_OR_RETURN(std::optional<v1::RunStatus> known, KnownRun(complete));
  if (known.has_value()) return *std::move(known);
  if (complete.has_gate() && !context_.evaluate) {
    return absl::FailedPreconditionError("gate: this coordinator cannot evaluate");
  }
  CHOIR_ASSIGN_OR_RETURN(std::unique_ptr<RunActor> run, RunActor::Start(context_, complete));
  CHOIR_ASSIGN_OR_RETURN(v1::RunStatus status, run->Status());
  runs_[complete.run_id()] = std::move(run);
  run_order_.push_back(complete.run_id());
  return status;
}

absl::StatusOr<v1::RunStatus> Coordinator::StopRun(const std::string& run_id,
                                                   const std::string& reason) {
  Turn turn(*this);
  RunActor* run = FindRun(run_id);
  if (run == nullptr) return absl::NotFoundError(fmt::format("there is no run {}", run_id));
  CHOIR_RETURN_IF_ERROR(run->Stop(reason.empty() ? "stopped by an operator" : reason));
  return run->Status();
}

absl::StatusOr<v1::RunStatus> Coordinator::GetRun(const std::string& run_id) const {
  absl::MutexLock lock(&mu_);
  const RunActor* run = FindRun(run_id);
  if (run == nullptr) return absl::NotFoundError(fmt::format("there is no run {}", run_id));
  return run->Status();
}

absl::StatusOr<v1::ListRunsResponse> Coordinator::ListRuns() const {
  absl::MutexLock lock(&mu_);
  v1::ListRunsResponse response;
  for (const std::string& id : run_order_) {
    CHOIR_ASSIGN_OR_RETURN(*response.add_runs(), FindRun(id)->Status());
  }
  return response;
}

absl::StatusOr<v1::ListNodesResponse> Coordinator::ListNodes() const {
  v1::ListNodesResponse response;
  for (const NodeRecord& node : members_->List()) {
    v1::NodeInfo& info = *response.add_nodes();
    info.set_node_id(node.node_id);
    info.set_display_name(node.display_name);
    info.set_enrolled_unix_s(absl::ToUnixSeconds(node.enrolled));
    info.set_last_seen_unix_s(absl::ToUnixSeconds(node.last_seen));
    info.set_state(members_->IsRevoked(node.node_id) ? "revoked" : "idle");
  }
  absl::MutexLock lock(&mu_);
  for (v1::NodeInfo& info : *response.mutable_nodes()) {
    for (const auto& [id, run] : runs_) {
      if (info.state() == "revoked" || !run->Holds(info.node_id())) continue;
      const MemberState state = *run->StateOf(info.node_id());
      info.set_state(state == MemberState::kTraining ? "training"
                     : state == MemberState::kReady  ? "waiting"
                                                     : "aggregating");
      info.set_run_id(id);
      info.set_round(run->round());
    }
  }
  return response;
}

absl::Status Coordinator::PublishManifest(const v1::SignedDocument& document) {
  CHOIR_RETURN_IF_ERROR(members_->PublishManifest(document));
  const v1::Manifest manifest = members_->manifest();
  spdlog::info("manifest_published serial={} revoked={}", manifest.serial(),
               manifest.revoked_node_ids_size());
  Turn turn(*this);
  for (const std::string& node : manifest.revoked_node_ids()) {
    for (const auto& [id, run] : runs_) {
      // It stands in the manifest all the same: every call of the node is refused from now on.
      if (const absl::Status gone = run->Expel(node); !gone.ok()) {
        spdlog::warn("expel_failed run={} status=\"{}\"", id, gone.ToString());
      }
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::ListAdapterVersionsResponse> Coordinator::ListVersions(
    const v1::ListAdapterVersionsRequest& request) const {
  CHOIR_ASSIGN_OR_RETURN(
      const std::vector<VersionRecord> records,
      store_.ListVersions(request.run_id(), request.after_version(), kMaxVersions));
  // Every run has its version 0.
  if (records.empty() && request.after_version() < 0) {
    return absl::NotFoundError("there is no such run");
  }
  v1::ListAdapterVersionsResponse response;
  size_t bytes = 0;
  for (const VersionRecord& record : records) {
    bytes += BytesOf(record);
    if (bytes > kMaxVersionsBytes && response.versions_size() > 0) break;
    if (!response.add_versions()->ParseFromString(record.document)) {
      return absl::DataLossError(fmt::format("version {} in the store is damaged", record.version));
    }
    for (const std::string& result : record.results) response.add_round_results(result);
  }
  return response;
}

// ---- Time and work ---------------------------------------------------------------------------

void Coordinator::Tick() {
  bool flush = false;
  {
    Turn turn(*this);
    for (const auto& [id, run] : runs_) run->Tick();
    if (clock_.Now() - flushed_ >= kFlushEvery) {
      flush = true;
      flushed_ = clock_.Now();
    }
  }
  polls_.Expire(clock_.Now());
  if (!flush) return;
  if (const absl::Status status = members_->Flush(); !status.ok()) {
    spdlog::warn("flush_failed status=\"{}\"", status.ToString());
  }
}

void Coordinator::SetEvaluate(Evaluate evaluate) {
  absl::MutexLock lock(&mu_);
  context_.evaluate = std::move(evaluate);
}

bool Coordinator::DoWork(std::optional<WorkLane> lane) {
  std::optional<Work> work;
  std::string run_id;
  {
    absl::MutexLock lock(&mu_);
    if (lane.has_value()) work_due_[static_cast<size_t>(*lane)] = false;
    for (const auto& [id, run] : runs_) {
      work = run->TakeWork(lane);
      run_id = id;
      if (work.has_value()) break;
    }
  }
  if (!work.has_value()) return false;
  WorkDone done =
      choir::coordinator::DoWork(*std::move(work), federation_.coordinator_key, blobs_, random_);
  Turn turn(*this);
  FindRun(run_id)->Complete(std::move(done));
  return true;
}

void Coordinator::WaitForWork(WorkLane lane, absl::Duration limit) {
  absl::MutexLock lock(&mu_);
  mu_.AwaitWithTimeout(absl::Condition(&work_due_[static_cast<size_t>(lane)]), limit);
}

void Coordinator::SetRetention(const RetentionPolicy& policy) {
  absl::MutexLock lock(&sweep_mu_);
  retention_ = policy;
}

void Coordinator::SweepIfDue() {
  absl::MutexLock lock(&sweep_mu_);
  if (clock_.Now() < next_sweep_) return;
  const absl::StatusOr<bool> swept = Sweep();
  if (!swept.ok()) spdlog::warn("sweep_failed status=\"{}\"", swept.status().ToString());
  if (!swept.ok() || *swept) next_sweep_ = clock_.Now() + kSweepEvery;
}

absl::StatusOr<bool> Coordinator::Sweep() {
  // What takes long comes first, without the lock on the runs; under it only what is new is read.
  CHOIR_RETURN_IF_ERROR(in_use_.Update(store_));
  CHOIR_ASSIGN_OR_RETURN(const std::vector<BlobEntry> blobs, blobs_.List());
  absl::MutexLock lock(&mu_);
  std::map<std::string, uint64_t> rounds;
  for (const auto& [id, run] : runs_) {
    if (run->merging()) return false;
    if (run->running()) rounds[id] = run->round();
  }
  CHOIR_RETURN_IF_ERROR(in_use_.Update(store_));
  const std::set<Digest> kept = in_use_.All(members_->manifest(), retention_.keep_versions);
  CHOIR_ASSIGN_OR_RETURN(const SweptBlobs swept, SweepBlobs(store_, blobs_, blobs, kept,
                                                            retention_.unused_for, clock_.Now()));
  SweepSpool(context_.spool, rounds);
  if (swept.blobs > 0) spdlog::info("blobs_swept blobs={} bytes={}", swept.blobs, swept.bytes);
  return true;
}

void Coordinator::StopWaiting() {
  polls_.Stop();
}

}  // namespace choir::coordinator
