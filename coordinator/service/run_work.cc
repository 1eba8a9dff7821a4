// A run's long work: what there is to open or to merge, and what came of it.
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/cord.h"
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "base/failpoint.h"
#include "base/file.h"
#include "base/hex.h"
#include "base/status_macros.h"
#include "coordinator/service/run_actor.h"

namespace choir::coordinator {
namespace {

std::string ReasonName(const absl::Status& status) {
  const auto reason = secagg::ReasonOf(status);
  return std::string(secagg::AbortReasonName(reason.value_or(secagg::AbortReason::kMergeFailed)));
}

// The same failure, with the names that it brought: for operators.
absl::Status WithLiars(const absl::Status& status, const std::vector<NodeId>& liars) {
  if (liars.empty()) return status;
  std::string text(status.message());
  for (size_t i = 0; i < liars.size(); ++i) {
    text += (i == 0 ? "; lied about shares: " : ", ") + ShortId(liars[i]);
  }
  absl::Status named(status.code(), text);
  status.ForEachPayload(
      [&named](auto type, const absl::Cord& value) { named.SetPayload(type, value); });
  return named;
}

}  // namespace

std::optional<Work> RunActor::TakeWork(std::optional<WorkLane> lane) {
  if (!running()) return std::nullopt;
  const auto mine = [lane](WorkLane wanted) { return lane.value_or(wanted) == wanted; };
  const absl::Time now = context_.clock.Now();
  for (const auto& [cohort, session] : sessions_) {
    if (!mine(WorkLane::kComputing)) break;
    if (not_durable_.contains(cohort) || !session->ReadyToUnmask(now)) continue;
    return UnmaskWork{cohort, session->TakeForUnmasking(), session->folder(),
                      session->folder() + "/sum"};
  }
  const bool gated = !config_.gate().data_digest().empty();
  if (round_.phase == Phase::kMerging && !merging_ &&
      mine(gated ? WorkLane::kEvaluating : WorkLane::kComputing)) {
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
  liars_.insert(done.liars.begin(), done.liars.end());
  for (const NodeId& node : done.liars) {
    spdlog::warn("node_lied_about_shares run={} round={} cohort={} node={}", config_.run_id(),
                 round_.round, done.cohort, HexEncode(AsBytes(node)));
  }
  if (!done.result.ok()) {
    session.FailUnmasking(WithLiars(done.result.status(), done.liars));
    return Save(session);
  }
  const MergeInput::Cohort sum{session.id(), *done.result, session.folder() + "/sum"};
  SessionRecord record = session.Record();
  record.open = false;
  record.result = std::string(AsChars(secagg::Encode(*done.result)));
  Batch batch;
  batch.sessions = {record};
  batch.pieces = {{SessionOwner(session.id()), true, {}}};
  Note(batch,
       fmt::format("cohort_summed run={} round={} cohort={} contributors={}", config_.run_id(),
                   round_.round, done.cohort, done.result->contributors.size()));
  for (const NodeId& node : done.liars) {
    Note(batch, fmt::format("node_lied_about_shares run={} round={} cohort={} node={}",
                            config_.run_id(), round_.round, done.cohort, ShortId(node)));
  }
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
                            config_.run_id(), round_.round, ShortId(session_id), why.ToString()));
    left_out_.push_back(fmt::format("{}: {}", ShortId(session_id), std::string(why.message())));
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

}  // namespace choir::coordinator
