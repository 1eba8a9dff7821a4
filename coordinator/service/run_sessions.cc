// A run's secure-aggregation sessions: opened, fed with messages and inputs, made durable.
#include <utility>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "base/failpoint.h"
#include "base/file.h"
#include "base/hex.h"
#include "base/status_macros.h"
#include "coordinator/service/run_actor.h"
#include "coordinator/service/run_plan.h"
#include "engine/lora/contribution.h"
#include "secure-agg/core/codec.h"
#include "secure-agg/core/transcript.h"

namespace choir::coordinator {
namespace {

constexpr absl::Duration kSessionLife = absl::Hours(24);

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
  batch.pieces = {session.Changes()};
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
  session.Stored();
  not_durable_.erase(session.cohort());
  if (session.ReadyToUnmask(context_.clock.Now())) context_.changed(RunTopic(config_.run_id()));
  if (!moved) return absl::OkStatus();
  spdlog::info("session_stage run={} round={} session={} stage={}", config_.run_id(), round_.round,
               ShortId(id), session.StageName());
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

std::string RunActor::RoundFolder(uint64_t round) const {
  return fmt::format("{}/{}/{}", context_.spool, config_.run_id(), round);
}

}  // namespace choir::coordinator
