#include "coordinator/service/run_actor.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "base/failpoint.h"
#include "base/file.h"
#include "base/hex.h"
#include "base/status_macros.h"
#include "coordinator/round/round_codec.h"
#include "coordinator/service/run_plan.h"
#include "engine/lora/contribution.h"
#include "proto/trust/documents.h"
#include "secure-agg/core/codec.h"
#include "secure-agg/core/transcript.h"

namespace choir::coordinator {
namespace {

// After so many rounds without a version something is wrong that waiting does not mend.
constexpr uint32_t kMaxAbandonedInARow = 20;
constexpr absl::Duration kTaskLife = absl::Hours(24 * 7);
constexpr absl::Duration kSessionLife = absl::Hours(24);
constexpr absl::Duration kLongestReportPause = absl::Seconds(30);

std::string Short(std::string_view id) {
  return HexEncode(AsBytes(id)).substr(0, 16);
}

std::string RandomBytes(RandomSource& random, size_t size) {
  std::string out(size, '\0');
  random.Fill({reinterpret_cast<uint8_t*>(out.data()), out.size()});
  return out;
}

std::string ReasonName(const absl::Status& status) {
  const auto reason = secagg::ReasonOf(status);
  return reason.has_value() ? std::string(secagg::AbortReasonName(*reason)) : "merge-failed";
}

absl::StatusOr<secagg::DeviceIdentity> IdentityOf(const NodeRecord& node) {
  CHOIR_ASSIGN_OR_RETURN(const trust::PublicKey key,
                         trust::PublicKeyFrom(AsBytes(node.device_key)));
  return secagg::DeviceIdentity{
      node.node_id, key, {node.credential.begin(), node.credential.end()}};
}

// Where the process dies in the kill tests: after a stage's broadcast became durable.
void HitStageFailpoint([[maybe_unused]] std::string_view stage) {
  if (stage == "sharing") CHOIR_FAILPOINT("coordinator-key-list-closed");
  if (stage == "masking") CHOIR_FAILPOINT("coordinator-share-delivery-closed");
  if (stage == "signing") CHOIR_FAILPOINT("coordinator-survivor-list-closed");
  if (stage == "unmasking") CHOIR_FAILPOINT("coordinator-survivor-signatures-closed");
}

}  // namespace

std::string RunTopic(std::string_view run_id) {
  return fmt::format("run:{}", run_id);
}
std::string SessionTopic(std::string_view session_id) {
  return fmt::format("session:{}", HexEncode(AsBytes(session_id)));
}

// ---- Check-in, training, joining -------------------------------------------------------------

absl::StatusOr<v1::CheckInResponse::Task> RunActor::GiveTask(const NodeId& node) {
  if (!running()) return absl::UnavailableError("the run has ended");
  CHOIR_FAILPOINT("coordinator-check-in-before-commit");
  CHOIR_RETURN_IF_ERROR(Do(CheckIn{node, HexEncode(AsBytes(RandomBytes(context_.random, 16)))}));
  CHOIR_FAILPOINT("coordinator-check-in-after-commit");
  const auto it = round_.members.find(node);
  if (it == round_.members.end()) return absl::UnavailableError("the round has just ended");
  v1::RoundTask task;
  task.set_federation_id(config_.federation_id());
  task.set_run_id(config_.run_id());
  task.set_round(round_.round);
  task.set_run_config_digest(std::string(AsText(config_digest_)));
  task.set_adapter_digest(version_.adapter_digest());
  task.set_adapter_bytes(version_.adapter_bytes());
  task.set_adapter_version(version_.version());
  task.set_trained_factors(
      std::string(engine::ContributionName(strategy_->ContributionFor(version_.version()))));
  task.set_lease_id(it->second.lease_id);
  task.set_not_after_unix_s(absl::ToUnixSeconds(context_.clock.Now() + kTaskLife));
  v1::CheckInResponse::Task answer;
  *answer.mutable_task() =
      trust::SignDocument(context_.federation.coordinator_key, trust::kTaskDomain, task);
  *answer.mutable_run_config() = config_document_;
  *answer.mutable_adapter_version() = version_document_;
  return answer;
}

std::optional<MemberState> RunActor::StateOf(const NodeId& node) const {
  const auto it = round_.members.find(node);
  if (!running() || it == round_.members.end()) return std::nullopt;
  return it->second.state;
}

bool RunActor::Holds(const NodeId& node) const {
  const std::optional<MemberState> state = StateOf(node);
  return state == MemberState::kTraining || state == MemberState::kReady ||
         state == MemberState::kInCohort;
}

void RunActor::Touch(const NodeId& node) {
  if (StateOf(node) != MemberState::kTraining) return;
  if (const absl::Status status = Do(Touched{node}); !status.ok()) {
    spdlog::warn("touch_failed run={} status=\"{}\"", config_.run_id(), status.ToString());
  }
}

absl::StatusOr<v1::ProgressResponse> RunActor::Report(const NodeId& node,
                                                      const v1::ProgressRequest& request) {
  if (request.round() != round_.round || !running()) {
    return absl::AbortedError(fmt::format("round {} is over", request.round()));
  }
  v1::ProgressResponse response;
  response.set_next_report_ms(static_cast<uint32_t>(
      absl::ToInt64Milliseconds(std::min(policy_.lease / 3, kLongestReportPause))));
  if (request.gives_up().empty()) {
    CHOIR_RETURN_IF_ERROR(
        Do(Progress{node, request.lease_id(), request.steps_done(), request.steps_total()}));
    return response;
  }
  // A word of ours, never the node's own text.
  const auto reason = secagg::AbortReasonFromName(request.gives_up());
  CHOIR_RETURN_IF_ERROR(FreePlace(node, request.lease_id(), "node_gave_up",
                                  reason.has_value() ? secagg::AbortReasonName(*reason) : "other"));
  return response;
}

absl::Status RunActor::FreePlace(const NodeId& node, const std::string& lease_id,
                                 std::string_view event, std::string_view reason) {
  const auto it = round_.members.find(node);
  if (it != round_.members.end() && it->second.state == MemberState::kInCohort &&
      it->second.lease_id == lease_id) {
    const auto session = sessions_.find(it->second.cohort);
    if (session == sessions_.end()) return absl::OkStatus();
    session->second->Withdraw(node);
    return Save(*session->second);
  }
  Batch batch;
  Note(batch, fmt::format("{} run={} round={} node={} reason={}", event, config_.run_id(),
                          round_.round, Short(node), reason));
  return Do(GiveUp{node, lease_id}, std::move(batch));
}

absl::Status RunActor::Expel(const NodeId& node) {
  if (!Holds(node)) return absl::OkStatus();
  const std::string lease_id = round_.members.at(node).lease_id;
  return FreePlace(node, lease_id, "node_expelled", "revoked");
}

absl::StatusOr<std::optional<std::string>> RunActor::Join(const NodeId& node,
                                                          const v1::JoinCohortRequest& request) {
  if (request.round() != round_.round || !running()) {
    return absl::AbortedError(fmt::format("round {} is over", request.round()));
  }
  CHOIR_RETURN_IF_ERROR(Do(Ready{node, request.lease_id()}));
  const auto it = round_.members.find(node);
  if (request.round() != round_.round || it == round_.members.end()) {
    return absl::AbortedError(fmt::format("round {} is over", request.round()));
  }
  if (it->second.state != MemberState::kInCohort) return std::nullopt;
  const auto session = sessions_.find(it->second.cohort);
  if (session == sessions_.end() || not_durable_.contains(it->second.cohort)) return std::nullopt;
  return std::string(AsChars(secagg::Encode(session->second->config())));
}

// ---- Sessions --------------------------------------------------------------------------------

Session* RunActor::FindSession(std::string_view session_id) {
  for (const auto& [cohort, session] : sessions_) {
    if (session->id() == session_id) return session.get();
  }
  return nullptr;
}

absl::Status RunActor::TakeMessage(Session& session, const NodeRecord& from,
                                   const v1::SessionMessage& message) {
  CHOIR_ASSIGN_OR_RETURN(const secagg::DeviceIdentity identity, IdentityOf(from));
  CHOIR_RETURN_IF_ERROR(session.Handle(identity, message.kind(), AsBytes(message.body())));
  received_bytes_ += message.body().size();
  CHOIR_FAILPOINT("coordinator-message-before-commit");
  return Save(session);
}

absl::Status RunActor::CountUpload(Session& session, const Upload& upload) {
  CHOIR_FAILPOINT("coordinator-upload-complete");
  CHOIR_RETURN_IF_ERROR(session.CountUpload(upload));
  CHOIR_ASSIGN_OR_RETURN(const secagg::MaskedInputHeader header,
                         secagg::DecodeMaskedInputHeader(upload.header()));
  received_bytes_ += header.total_bytes;
  CHOIR_RETURN_IF_ERROR(Save(session));
  CHOIR_FAILPOINT("coordinator-input-counted");
  return absl::OkStatus();
}

std::optional<v1::SessionBroadcast> RunActor::Poll(const Session& session, const NodeId& node,
                                                   uint32_t after_stage) const {
  if (not_durable_.contains(session.cohort())) return std::nullopt;
  return session.BroadcastFor(node, after_stage);
}

absl::Status RunActor::Save(Session& session) {
  const std::string id = session.id();
  const bool moved = session.Advance(context_.clock.Now());
  not_durable_.insert(session.cohort());
  Batch batch;
  batch.sessions = {session.Record()};
  if (session.failure().has_value()) {
    const Session::Failure failure = *session.failure();
    Note(batch, fmt::format("cohort_failed run={} round={} cohort={} reason={}", config_.run_id(),
                            round_.round, session.cohort(), failure.reason));
    const uint32_t cohort = session.cohort();
    CHOIR_RETURN_IF_ERROR(
        Do(CohortFailed{cohort, failure.spent, failure.alive, failure.reason, failure.text},
           std::move(batch)));
    return absl::OkStatus();
  }
  batch.rounds = {{config_.run_id(), round_.round, StatusOf(round_).SerializeAsString()}};
  CHOIR_RETURN_IF_ERROR(Write(batch));
  not_durable_.erase(session.cohort());
  if (session.ReadyToUnmask(context_.clock.Now())) context_.changed(RunTopic(config_.run_id()));
  if (!moved) return absl::OkStatus();
  spdlog::info("session_stage run={} round={} session={} stage={}", config_.run_id(), round_.round,
               Short(id), session.StageName());
  HitStageFailpoint(session.StageName());
  context_.changed(SessionTopic(id));
  context_.changed(RunTopic(config_.run_id()));
  return absl::OkStatus();
}

Session::Place RunActor::PlaceOf(const RoundState& state, uint32_t cohort,
                                 std::string_view session_id) const {
  return {config_.run_id(),
          state.round,
          cohort,
          state.cohorts[cohort].members,
          fmt::format("{}/{}", RoundFolder(state.round), HexEncode(AsBytes(session_id))),
          StageWait(config_)};
}

std::unique_ptr<trust::SessionVerifier> RunActor::Verifier() const {
  return std::make_unique<trust::SessionVerifier>(context_.members.manifest(),
                                                  context_.clock.Now());
}

secagg::SessionConfig RunActor::ConfigAt(uint64_t version) const {
  const uint64_t length = engine::ContributionLength(shape_, strategy_->ContributionFor(version));
  return SessionTemplate(config_, length, privacy_.clip_norm());
}

absl::Status RunActor::CheckBudget(uint64_t round, uint64_t version) const {
  if (!privacy_.promises()) return absl::OkStatus();
  CHOIR_ASSIGN_OR_RETURN(const privacy::RdpCurve cost,
                         secagg::CostOf(secagg::CodecOf(ConfigAt(version))));
  return privacy_.CheckRoom(round, cost);
}

absl::StatusOr<std::unique_ptr<Session>> RunActor::OpenSession(const RoundState& state,
                                                               uint32_t cohort) {
  const absl::Time now = context_.clock.Now();
  const engine::Contribution contribution = strategy_->ContributionFor(version_.version());
  secagg::SessionConfig config = ConfigAt(version_.version());
  context_.random.Fill(config.session_id);
  config.round = state.round;
  config.round_counter = context_.next_counter();
  CHOIR_ASSIGN_OR_RETURN(config.base_hash,
                         DigestFrom(config_.base_model_digest(), "base_model_digest"));
  CHOIR_ASSIGN_OR_RETURN(config.adapter_hash,
                         DigestFrom(version_.adapter_digest(), "adapter_digest"));
  config.lora_digest = trust::WorkDigest(config_digest_, engine::ContributionName(contribution),
                                         version_.basis_digest());
  config.expires_at_ms = absl::ToUnixMillis(now + kSessionLife);
  const trust::SessionSigner signer(context_.federation.coordinator_key);
  CHOIR_RETURN_IF_ERROR(secagg::SignConfig(signer, config));
  return Session::Open(PlaceOf(state, cohort, AsChars(config.session_id)), config, Verifier(), now);
}

// ---- Transitions -----------------------------------------------------------------------------

absl::Status RunActor::Do(const Event& event, Batch batch) {
  Outcome out = Apply(round_, policy_, event, context_.clock.Now());
  const bool extra = !batch.sessions.empty() || !batch.versions.empty();
  if (!out.durable && !extra) {
    round_ = std::move(out.state);
    return out.answer;
  }
  std::vector<std::unique_ptr<Session>> opened;
  const RunPrivacy before = privacy_;
  absl::Status stored = CarryOut(out.state, out.effects, batch, opened);
  if (!opened.empty()) CHOIR_FAILPOINT("coordinator-cohort-before-commit");
  if (stored.ok()) stored = Commit(std::move(out.state), std::move(batch));
  if (!stored.ok()) {
    privacy_ = before;
    return stored;
  }
  for (std::unique_ptr<Session>& session : opened) {
    const uint32_t cohort = session->cohort();
    sessions_[cohort] = std::move(session);
  }
  if (!opened.empty()) CHOIR_FAILPOINT("coordinator-cohort-after-commit");
  return out.answer;
}

absl::Status RunActor::CarryOut(const RoundState& state, const std::vector<Effect>& effects,
                                Batch& batch, std::vector<std::unique_ptr<Session>>& opened) {
  for (const Effect& effect : effects) {
    if (const auto* open = std::get_if<choir::coordinator::OpenSession>(&effect)) {
      CHOIR_ASSIGN_OR_RETURN(std::unique_ptr<Session> session, OpenSession(state, open->cohort));
      if (privacy_.promises()) {
        CHOIR_ASSIGN_OR_RETURN(const privacy::RdpCurve cost,
                               secagg::CostOf(secagg::CodecOf(session->config())));
        CHOIR_RETURN_IF_ERROR(privacy_.Debit(state.round, cost));
      }
      batch.sessions.push_back(session->Record());
      Note(batch, fmt::format("cohort_formed run={} round={} cohort={} nodes={} session={}",
                              config_.run_id(), state.round, open->cohort,
                              state.cohorts[open->cohort].members.size(), Short(session->id())));
      opened.push_back(std::move(session));
    } else if (const auto* close = std::get_if<CloseSession>(&effect)) {
      const auto it = sessions_.find(close->cohort);
      if (it == sessions_.end()) continue;
      it->second->Abort(secagg::AbortReason::kCancelled);
      batch.sessions.push_back(it->second->Record());
    }
    // StartMerge: TakeWork() finds the round in kMerging.
  }
  return absl::OkStatus();
}

absl::Status RunActor::Commit(RoundState next, Batch batch) {
  const bool ended = next.ended_already();
  RunRecord record = record_;
  batch.rounds = {{config_.run_id(), next.round, StatusOf(next).SerializeAsString()}};
  if (ended) CloseRound(next, record, batch);
  RoundState following =
      ended && record.state == "running" ? StartRound(next.round + 1, context_.clock.Now()) : next;
  record.round = EncodeRound(following);
  record.privacy = privacy_.Encode();
  batch.run = {record, revision_};
  CHOIR_RETURN_IF_ERROR(Write(batch));
  ++revision_;
  record_ = std::move(record);
  round_ = std::move(following);
  // What is not running any more is found in the store from now on.
  for (const SessionRecord& session : batch.sessions) {
    if (session.open) continue;
    sessions_.erase(session.cohort);
    not_durable_.erase(session.cohort);
    context_.changed(SessionTopic(session.session_id));
  }
  context_.changed(RunTopic(config_.run_id()));
  if (ended) AfterRound(next);
  return absl::OkStatus();
}

void RunActor::CloseRound(const RoundState& ended, RunRecord& record, Batch& batch) {
  if (ended.phase == Phase::kPublished) {
    ++record.adapter_version;
    record.abandoned_in_a_row = 0;
    if (record.adapter_version >= config_.pacing().rounds()) record.state = "finished";
    StopWithoutBudget(ended, record);
    Note(batch,
         fmt::format("round_published run={} round={} version={} contributors={} "
                     "mean_train_loss={:.4f} took_ms={}",
                     config_.run_id(), ended.round, record.adapter_version, contributors_,
                     mean_train_loss_, absl::ToInt64Milliseconds(ended.ended - ended.started)));
    return;
  }
  ++record.abandoned_in_a_row;
  Note(batch, fmt::format("round_abandoned run={} round={} reason={} text=\"{}\"", config_.run_id(),
                          ended.round, ended.reason, ended.reason_text));
  // Sums that nobody merges: their nodes must not wait for a result.
  for (const auto& [cohort, sum] : sums_) {
    absl::StatusOr<SessionRecord> stored = Stored(sum.session_id);
    if (!stored.ok()) continue;
    stored->abort_reason = ended.reason;
    batch.sessions.push_back(*std::move(stored));
  }
  if (stopping_) {
    record.state = "stopped";
    record.reason = ended.reason_text;
  } else if (record.abandoned_in_a_row < kMaxAbandonedInARow) {
    StopWithoutBudget(ended, record);
  } else {
    record.state = "failed";
    record.reason = fmt::format("{} rounds in a row were abandoned, the last one: {} ({})",
                                record.abandoned_in_a_row, ended.reason, ended.reason_text);
  }
}

// A run whose budget does not pay for another round is over.
void RunActor::StopWithoutBudget(const RoundState& ended, RunRecord& record) const {
  if (record.state != "running") return;
  const absl::Status budget = CheckBudget(ended.round + 1, record.adapter_version);
  if (budget.ok()) return;
  record.state = "stopped";
  record.reason = std::string(budget.message());
}

void RunActor::AfterRound(const RoundState& ended) {
  last_round_ = ended.ended - ended.started;
  sessions_.clear();
  sums_.clear();
  not_durable_.clear();
  undone_.clear();
  merging_ = false;
  received_bytes_ = 0;
  mean_train_loss_ = 0;
  trained_tokens_ = 0;
  contributors_ = 0;
  left_out_.clear();
  held_out_nll_.reset();
  std::error_code ignored;  // what stays takes room, no more
  std::filesystem::remove_all(RoundFolder(ended.round), ignored);
}

absl::Status RunActor::Write(const Batch& batch) {
  const absl::Status status = context_.store.Commit(batch);
  if (status.ok()) {
    for (const EventRecord& event : batch.events) spdlog::info("{}", event.text);
    return status;
  }
  spdlog::error("commit_failed run={} status=\"{}\"", config_.run_id(), status.ToString());
  // The caller's request was fine: it may try again.
  return absl::UnavailableError(
      fmt::format("the coordinator could not store this: {}", std::string(status.message())));
}

void RunActor::Note(Batch& batch, std::string text) const {
  batch.events.push_back({context_.clock.Now(), config_.run_id(), std::move(text)});
}

void RunActor::Tick() {
  if (!running()) return;
  const absl::Time now = context_.clock.Now();
  std::vector<WorkDone> again = std::move(undone_);
  undone_.clear();
  for (WorkDone& done : again) Complete(std::move(done));
  std::vector<Session*> due;
  for (const auto& [cohort, session] : sessions_) {
    const bool late = now >= session->NextDeadline() && !session->ReadyToUnmask(now);
    if (late || not_durable_.contains(cohort)) due.push_back(session.get());
  }
  for (Session* session : due) {
    // A session that failed may have ended the round, and with it the others.
    const bool there = std::ranges::any_of(
        sessions_, [&](const auto& entry) { return entry.second.get() == session; });
    if (there) (void)Save(*session);  // logged; tried again at the next tick
  }
  if (now >= choir::coordinator::NextDeadline(round_, policy_))
    (void)Do(choir::coordinator::Tick{});
}

absl::Time RunActor::NextDeadline() const {
  if (!running()) return absl::InfiniteFuture();
  absl::Time next = choir::coordinator::NextDeadline(round_, policy_);
  for (const auto& [cohort, session] : sessions_) next = std::min(next, session->NextDeadline());
  return next;
}

absl::Status RunActor::Stop(const std::string& reason) {
  if (!running()) return absl::OkStatus();
  stopping_ = true;
  const absl::Status status = Do(choir::coordinator::Stop{"cancelled", reason});
  stopping_ = false;
  return status;
}

// ---- Long work -------------------------------------------------------------------------------

std::optional<Work> RunActor::TakeWork() {
  if (!running()) return std::nullopt;
  const absl::Time now = context_.clock.Now();
  for (const auto& [cohort, session] : sessions_) {
    if (not_durable_.contains(cohort) || !session->ReadyToUnmask(now)) continue;
    return UnmaskWork{cohort, session->TakeForUnmasking(), session->folder(),
                      session->folder() + "/sum"};
  }
  if (round_.phase == Phase::kMerging && !merging_) {
    merging_ = true;
    return MergeInputNow();
  }
  return std::nullopt;
}

MergeInput RunActor::MergeInputNow() const {
  MergeInput input{config_,
                   version_document_,
                   round_.round,
                   {},
                   head_,
                   privacy_.clip_norm(),
                   privacy_.Spent(),
                   context_.clock.Now(),
                   context_.evaluate,
                   RoundFolder(round_.round) + "/gate"};
  for (const auto& [cohort, sum] : sums_) input.cohorts.push_back(sum);
  return input;
}

void RunActor::Complete(WorkDone done) {
  const auto* unmasked = std::get_if<UnmaskDone>(&done);
  if (unmasked != nullptr && !Awaits(*unmasked)) {
    std::error_code ignored;  // what stays takes room, no more
    std::filesystem::remove_all(unmasked->folder, ignored);
    return;
  }
  if (!running()) return;
  const absl::Status status =
      unmasked != nullptr ? OnUnmasked(*unmasked) : OnMerged(std::get<MergeDone>(done));
  if (!status.ok()) undone_.push_back(std::move(done));
}

// False if the round was given up while the sum was being opened.
bool RunActor::Awaits(const UnmaskDone& done) const {
  const auto it = sessions_.find(done.cohort);
  return running() && it != sessions_.end() && it->second->id() == done.session_id;
}

absl::Status RunActor::OnUnmasked(const UnmaskDone& done) {
  Session& session = *sessions_.at(done.cohort);
  if (!done.result.ok()) {
    session.FailUnmasking(done.result.status());
    return Save(session);
  }
  const MergeInput::Cohort sum{session.id(), *done.result, session.folder() + "/sum"};
  SessionRecord record = session.Record();
  record.open = false;
  record.snapshot.clear();
  record.result = std::string(AsChars(secagg::Encode(*done.result)));
  Batch batch;
  batch.sessions = {record};
  Note(batch,
       fmt::format("cohort_summed run={} round={} cohort={} contributors={}", config_.run_id(),
                   round_.round, done.cohort, done.result->contributors.size()));
  CHOIR_RETURN_IF_ERROR(Do(CohortSummed{done.cohort, done.result->contributors}, std::move(batch)));
  sums_[done.cohort] = sum;
  CHOIR_FAILPOINT("coordinator-sum-committed");
  return absl::OkStatus();
}

absl::Status RunActor::OnMerged(const MergeDone& done) {
  // Stopped meanwhile?
  if (done.round != round_.round || round_.phase != Phase::kMerging) return absl::OkStatus();
  if (!done.output.ok()) {
    return Do(
        MergeFailed{ReasonName(done.output.status()), std::string(done.output.status().message())});
  }
  const MergeOutput& output = *done.output;
  Batch batch;
  batch.versions = {output.version};
  for (const auto& [session_id, result] : output.results) {
    CHOIR_ASSIGN_OR_RETURN(SessionRecord record, Stored(session_id));
    record.result = result;
    batch.sessions.push_back(std::move(record));
  }
  left_out_.clear();
  for (const auto& [session_id, why] : output.left_out) {
    CHOIR_ASSIGN_OR_RETURN(SessionRecord record, Stored(session_id));
    record.abort_reason = ReasonName(why);
    batch.sessions.push_back(std::move(record));
    Note(batch, fmt::format("cohort_left_out run={} round={} session={} status=\"{}\"",
                            config_.run_id(), round_.round, Short(session_id), why.ToString()));
    left_out_.push_back(fmt::format("{}: {}", Short(session_id), std::string(why.message())));
  }
  mean_train_loss_ = output.mean_train_loss;
  trained_tokens_ = output.trained_tokens;
  contributors_ = output.contributors;
  held_out_nll_ = output.held_out_nll;
  CHOIR_FAILPOINT("coordinator-merged-before-commit");
  const RunPrivacy before = privacy_;
  if (output.unclipped_share.has_value()) privacy_.AdaptClip(*output.unclipped_share);
  if (const absl::Status merged = Do(Merged{}, std::move(batch)); !merged.ok()) {
    privacy_ = before;
    return merged;
  }
  CHOIR_FAILPOINT("coordinator-published");
  return TakeVersion(output.version);
}

absl::StatusOr<SessionRecord> RunActor::Stored(std::string_view session_id) const {
  CHOIR_ASSIGN_OR_RETURN(std::optional<SessionRecord> stored,
                         context_.store.GetSession(session_id));
  if (!stored.has_value()) return absl::DataLossError("a session with a sum is not in the store");
  return *std::move(stored);
}

std::string RunActor::RoundFolder(uint64_t round) const {
  return fmt::format("{}/{}/{}", context_.spool, config_.run_id(), round);
}

}  // namespace choir::coordinator
