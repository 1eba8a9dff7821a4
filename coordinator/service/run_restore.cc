// How a run begins, and how it comes back after a restart.
#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "base/failpoint.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "coordinator/round/round_codec.h"
#include "coordinator/service/run_actor.h"
#include "coordinator/service/run_plan.h"
#include "proto/trust/documents.h"

namespace choir::coordinator {
namespace {

constexpr const char* kDamaged = "damaged-journal";

absl::StatusOr<v1::SignedDocument> ParseDocument(const std::string& bytes) {
  v1::SignedDocument document;
  if (document.ParseFromString(bytes)) return document;
  return absl::DataLossError("a stored document cannot be parsed");
}

}  // namespace

absl::Status RunActor::TakeConfig(v1::SignedDocument document) {
  CHOIR_ASSIGN_OR_RETURN(
      config_, trust::OpenAs<v1::RunConfig>(document, trust::kRunDomain,
                                            context_.federation.coordinator_key.public_key()));
  config_digest_ = trust::DocumentDigest(document);
  config_document_ = std::move(document);
  policy_ = PolicyOf(config_);
  privacy_ = RunPrivacy::Fresh(config_);
  CHOIR_ASSIGN_OR_RETURN(strategy_, MakeStrategy(config_.aggregation().strategy()));
  return absl::OkStatus();
}

absl::Status RunActor::TakeVersion(const VersionRecord& record) {
  CHOIR_ASSIGN_OR_RETURN(version_document_, ParseDocument(record.document));
  CHOIR_ASSIGN_OR_RETURN(version_, trust::OpenAs<v1::AdapterVersion>(
                                       version_document_, trust::kAdapterDomain,
                                       context_.federation.coordinator_key.public_key()));
  if (record.results.empty()) return absl::OkStatus();
  CHOIR_ASSIGN_OR_RETURN(const secagg::RoundResult last,
                         secagg::DecodeRoundResult(AsBytes(record.results.back())));
  head_ = secagg::ChainHead{last.sequence, secagg::ResultHash(last)};
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<RunActor>> RunActor::Start(RunContext& context,
                                                          const v1::RunConfig& config) {
  std::unique_ptr<RunActor> run(new RunActor(context));
  const absl::Time now = context.clock.Now();
  const trust::SigningKey& key = context.federation.coordinator_key;
  CHOIR_RETURN_IF_ERROR(run->TakeConfig(trust::SignDocument(key, trust::kRunDomain, config)));
  CHOIR_ASSIGN_OR_RETURN(const Digest adapter,
                         DigestFrom(config.initial_adapter_digest(), "initial_adapter_digest"));
  CHOIR_ASSIGN_OR_RETURN(run->shape_, ReadAdapterBlob(context.blobs, adapter));
  CHOIR_ASSIGN_OR_RETURN(const BlobInfo blob, context.blobs.Stat(adapter));
  v1::AdapterVersion version;
  version.set_federation_id(config.federation_id());
  version.set_run_id(config.run_id());
  version.set_adapter_digest(config.initial_adapter_digest());
  version.set_adapter_bytes(blob.stored_bytes);
  version.set_created_unix_s(absl::ToUnixSeconds(now));
  const VersionRecord first{
      config.run_id(),
      0,
      trust::SignDocument(key, trust::kAdapterDomain, version).SerializeAsString(),
      {}};
  CHOIR_RETURN_IF_ERROR(run->TakeVersion(first));
  CHOIR_RETURN_IF_ERROR(run->CheckBudget(1, 0));
  run->round_ = StartRound(1, now);
  run->record_ = {config.run_id(),
                  "running",
                  "",
                  run->config_document_.SerializeAsString(),
                  now,
                  EncodeRoundHead(run->round_),
                  0,
                  0,
                  run->privacy_.Encode()};
  Batch batch;
  batch.run = {run->record_, 0};
  batch.versions = {first};
  run->Note(batch, fmt::format("run_started run={} strategy={} rounds={} values={}",
                               config.run_id(), config.aggregation().strategy(),
                               config.pacing().rounds(), config.num_values()));
  CHOIR_RETURN_IF_ERROR(context.store.Commit(batch));
  for (const EventRecord& event : batch.events) spdlog::info("{}", event.text);
  CHOIR_FAILPOINT("coordinator-run-started");
  run->revision_ = 1;
  return run;
}

absl::StatusOr<std::unique_ptr<RunActor>> RunActor::Restore(RunContext& context,
                                                            const StoredRun& stored) {
  std::unique_ptr<RunActor> run(new RunActor(context));
  run->record_ = stored.record;
  run->revision_ = stored.revision;
  CHOIR_ASSIGN_OR_RETURN(v1::SignedDocument config, ParseDocument(stored.record.config));
  CHOIR_RETURN_IF_ERROR(run->TakeConfig(std::move(config)));
  CHOIR_ASSIGN_OR_RETURN(const std::optional<VersionRecord> last,
                         context.store.LastVersion(stored.record.run_id));
  if (!last.has_value()) {
    return absl::DataLossError(
        fmt::format("run {} has no adapter version in the store", stored.record.run_id));
  }
  CHOIR_RETURN_IF_ERROR(run->TakeVersion(*last));
  CHOIR_RETURN_IF_ERROR(run->RestoreRound());
  CHOIR_ASSIGN_OR_RETURN(run->privacy_, RunPrivacy::Decode(stored.record.privacy, run->config_));
  if (!run->running()) return run;
  CHOIR_ASSIGN_OR_RETURN(const Digest initial, DigestFrom(run->config_.initial_adapter_digest(),
                                                          "initial_adapter_digest"));
  CHOIR_ASSIGN_OR_RETURN(run->shape_, ReadAdapterBlob(context.blobs, initial));
  run->round_ = Rearm(std::move(run->round_), run->policy_, context.clock.Now());
  CHOIR_RETURN_IF_ERROR(run->RestoreSessions());
  spdlog::info("run_restored run={} round={} phase={} open_sessions={}", run->config_.run_id(),
               run->round_.round, PhaseName(run->round_.phase), run->sessions_.size());
  return run;
}

absl::Status RunActor::RestoreRound() {
  CHOIR_ASSIGN_OR_RETURN(std::vector<PieceRecord> pieces,
                         context_.store.ListPieces(RoundOwner(config_.run_id())));
  std::vector<RoundPart> parts;
  for (PieceRecord& piece : pieces) {
    parts.push_back({std::move(piece.key), std::move(piece.value)});
  }
  CHOIR_ASSIGN_OR_RETURN(round_, DecodeRound(record_.round, parts));
  std::string head = EncodeRoundHead(round_);
  if (head == record_.round || !running()) return absl::OkStatus();
  // An older release left the members in the head.
  Batch batch;
  record_.round = std::move(head);
  batch.run = {record_, revision_};
  batch.pieces = {{RoundOwner(config_.run_id()), true, {}}};
  for (RoundPart& part : AllParts(round_)) {
    batch.pieces[0].pieces.push_back({std::move(part.key), std::move(part.value)});
  }
  CHOIR_RETURN_IF_ERROR(Write(batch));
  ++revision_;
  return absl::OkStatus();
}

absl::Status RunActor::RestoreSessions() {
  CHOIR_ASSIGN_OR_RETURN(const std::vector<RoundRecord> rounds,
                         context_.store.ListRounds(config_.run_id(), 1));
  v1::RoundStatus status;
  if (!rounds.empty() && rounds[0].round == round_.round &&
      status.ParseFromString(rounds[0].status)) {
    received_bytes_ = status.received_bytes();
  }
  CHOIR_ASSIGN_OR_RETURN(const std::vector<SessionRecord> records,
                         context_.store.ListSessions(config_.run_id(), round_.round));
  std::vector<SessionRecord> damaged;
  for (const SessionRecord& record : records) {
    if (record.cohort >= round_.cohorts.size()) {
      return absl::DataLossError(fmt::format("run {}: the store has a session of cohort {}, of {}",
                                             config_.run_id(), record.cohort,
                                             round_.cohorts.size()));
    }
    const absl::Status restored = RestoreSession(record);
    if (restored.ok()) continue;
    spdlog::error("session_damaged run={} round={} cohort={} status=\"{}\"", config_.run_id(),
                  round_.round, record.cohort, restored.ToString());
    damaged.push_back(record);
  }
  // Its nodes may have sent their inputs: nothing may be counted again.
  for (SessionRecord& record : damaged) {
    record.open = false;
    record.abort_reason = kDamaged;
    Batch batch;
    batch.sessions = {record};
    batch.pieces = {{SessionOwner(record.session_id), true, {}}};
    CHOIR_RETURN_IF_ERROR(Do(CohortFailed{record.cohort,
                                          round_.cohorts[record.cohort].members,
                                          {},
                                          kDamaged,
                                          "the session's stored state is damaged"},
                             std::move(batch)));
  }
  return absl::OkStatus();
}

absl::Status RunActor::RestoreSession(const SessionRecord& record) {
  if (record.open) {
    CHOIR_ASSIGN_OR_RETURN(const std::vector<PieceRecord> pieces,
                           context_.store.ListPieces(SessionOwner(record.session_id)));
    CHOIR_ASSIGN_OR_RETURN(sessions_[record.cohort],
                           Session::Restore(PlaceOf(round_, record.cohort, record.session_id),
                                            pieces, Verifier(), context_.clock.Now()));
    return absl::OkStatus();
  }
  if (round_.cohorts[record.cohort].state != CohortState::kSummed) return absl::OkStatus();
  CHOIR_ASSIGN_OR_RETURN(secagg::RoundResult result,
                         secagg::DecodeRoundResult(AsBytes(record.result)));
  const Session::Place place = PlaceOf(round_, record.cohort, record.session_id);
  sums_[record.cohort] = {record.session_id, std::move(result), place.folder + "/sum"};
  return absl::OkStatus();
}

}  // namespace choir::coordinator
