// How operators see a run.
#include <fmt/format.h>

#include "base/status_macros.h"
#include "coordinator/service/run_actor.h"

namespace choir::coordinator {
namespace {

constexpr uint32_t kRoundsShown = 100;

}  // namespace

v1::RoundStatus RunActor::StatusOf(const RoundState& state) const {
  v1::RoundStatus status;
  status.set_round(state.round);
  status.set_phase(std::string(PhaseName(state.phase)));
  status.set_reason(state.reason);
  status.set_reason_text(state.reason_text);
  status.set_selected(static_cast<uint32_t>(state.members.size()));
  status.set_training(state.Count(MemberState::kTraining));
  status.set_ready(state.Count(MemberState::kReady));
  status.set_in_cohort(state.Count(MemberState::kInCohort));
  uint32_t uploaded = 0;
  for (const Cohort& cohort : state.cohorts) uploaded += cohort.contributors;
  for (const auto& [cohort, session] : sessions_) {
    uploaded += session->Uploaded();
    status.set_session_stage(std::string(session->StageName()));
  }
  status.set_uploaded(uploaded);
  status.set_contributors(contributors_);
  status.set_mean_train_loss(mean_train_loss_);
  status.set_trained_tokens(trained_tokens_);
  status.set_received_bytes(received_bytes_);
  if (held_out_nll_.has_value()) status.set_held_out_nll(*held_out_nll_);
  for (const std::string& cohort : left_out_) status.add_left_out(cohort);
  if (privacy_.promises()) status.set_epsilon(privacy_.Epsilon());
  status.set_clip_norm(privacy_.clip_norm());
  status.set_started_unix_ms(absl::ToUnixMillis(state.started));
  if (state.ended_already()) status.set_ended_unix_ms(absl::ToUnixMillis(state.ended));
  return status;
}

absl::StatusOr<v1::RunStatus> RunActor::Status() const {
  v1::RunStatus status;
  status.set_run_id(config_.run_id());
  status.set_state(record_.state);
  status.set_reason(record_.reason);
  *status.mutable_config() = config_;
  status.set_adapter_version(version_.version());
  status.set_adapter_digest(version_.adapter_digest());
  status.set_rounds_published(static_cast<uint32_t>(record_.adapter_version));
  if (privacy_.promises()) status.set_epsilon(privacy_.Epsilon());
  status.set_started_unix_ms(absl::ToUnixMillis(record_.started));
  CHOIR_ASSIGN_OR_RETURN(const std::vector<RoundRecord> rounds,
                         context_.store.ListRounds(config_.run_id(), kRoundsShown));
  for (const RoundRecord& round : rounds) {
    // The present round is as it is now, not as it was stored.
    if (running() && round.round == round_.round) continue;
    if (!status.add_rounds()->ParseFromString(round.status)) {
      return absl::DataLossError(
          fmt::format("round {}: the stored status is damaged", round.round));
    }
  }
  if (running()) *status.add_rounds() = StatusOf(round_);
  return status;
}

}  // namespace choir::coordinator
