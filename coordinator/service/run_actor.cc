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
#include "secure-agg/core/codec.h"

namespace choir::coordinator {
namespace {

// After so many rounds without a version something is wrong that waiting does not mend.
constexpr uint32_t kMaxAbandonedInARow = 20;

}  // namespace

std::string RunTopic(std::string_view run_id) {
  return fmt::format("run:{}", run_id);
}

std::string SessionTopic(std::string_view session_id) {
  return fmt::format("session:{}", HexEncode(AsBytes(session_id)));
}

std::string RoundOwner(std::string_view run_id) {
  return fmt::format("round:{}", run_id);
}
std::string ShortId(std::string_view id) {
  return HexEncode(AsBytes(id)).substr(0, 16);
}

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
    session->Stored();
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
      batch.pieces.push_back(session->Changes());
      Note(batch, fmt::format("cohort_formed run={} round={} cohort={} nodes={} session={}",
                              config_.run_id(), state.round, open->cohort,
                              state.cohorts[open->cohort].members.size(), ShortId(session->id())));
      opened.push_back(std::move(session));
    } else if (const auto* close = std::get_if<CloseSession>(&effect)) {
      const auto it = sessions_.find(close->cohort);
      if (it == sessions_.end()) continue;
      it->second->Abort(secagg::AbortReason::kCancelled);
      batch.sessions.push_back(it->second->Record());
      batch.pieces.push_back(it->second->Changes());
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
  record.round = EncodeRoundHead(following);
  batch.pieces.push_back(RoundChanges(following));
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

Batch::PieceWrite RunActor::RoundChanges(const RoundState& next) const {
  const bool another = next.round != round_.round;
  Batch::PieceWrite write{RoundOwner(config_.run_id()), another, {}};
  for (RoundPart& part : another ? AllParts(next) : ChangedParts(round_, next)) {
    write.pieces.push_back({std::move(part.key), std::move(part.value)});
  }
  return write;
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

absl::Status RunActor::CheckBudget(uint64_t round, uint64_t version) const {
  if (!privacy_.promises()) return absl::OkStatus();
  CHOIR_ASSIGN_OR_RETURN(const privacy::RdpCurve cost,
                         secagg::CostOf(secagg::CodecOf(ConfigAt(version))));
  return privacy_.CheckRoom(round, cost);
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
  absl::Status status = context_.store.Commit(batch);
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
  absl::Status status = Do(choir::coordinator::Stop{"cancelled", reason});
  stopping_ = false;
  return status;
}

}  // namespace choir::coordinator
