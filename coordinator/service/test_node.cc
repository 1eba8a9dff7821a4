#include "coordinator/service/test_node.h"

#include <utility>

#include "base/check.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "coordinator/service/run_plan.h"
#include "coordinator/service/test_federation.h"
#include "engine/lora/contribution.h"
#include "proto/trust/documents.h"
#include "secure-agg/core/abort_reason.h"

namespace choir::coordinator {

TestNode::TestNode(uint64_t number, const std::string& federation_id, RandomSource& random)
    : number_(number),
      random_(random),
      key_(trust::SigningKey::Generate(random)),
      signer_(key_),
      id_(AsChars(trust::IdOf(key_.public_key()))),
      federation_id_(federation_id) {}

v1::EnrolRequest TestNode::EnrolRequest(const std::string& token) const {
  v1::EnrolRequest request;
  request.set_token(token);
  request.set_device_key(std::string(AsChars(key_.public_key())));
  const std::string proof_of = federation_id_ + token;
  request.set_proof(std::string(AsChars(key_.Sign(trust::kEnrolDomain, AsBytes(proof_of)))));
  request.set_display_name("test node");
  return request;
}

void TestNode::Joined(const v1::EnrolResponse& response) {
  CHOIR_CHECK(manifest_.ParseFromString(response.manifest().body()));
}

float TestNode::Delta(uint64_t number, uint64_t round, size_t i) {
  return 0.01f * static_cast<float>(number + 1) - 0.003f * static_cast<float>(i % 7) +
         0.1f * static_cast<float>(round);
}

absl::StatusOr<bool> TestNode::Step(NodeCalls& calls, absl::Time now) {
  if (next_ == Next::kCheckIn) return Take(calls, now);
  if (next_ == Next::kJoin) return Enter(calls, now);
  return Follow(calls);
}

absl::StatusOr<bool> TestNode::Take(NodeCalls& calls, absl::Time /*now*/) {
  CHOIR_ASSIGN_OR_RETURN(const v1::CheckInResponse answer, calls.CheckIn());
  if (!answer.has_task()) return false;
  CHOIR_ASSIGN_OR_RETURN(const trust::PublicKey coordinator,
                         trust::PublicKeyFrom(AsBytes(manifest_.coordinator_key())));
  CHOIR_ASSIGN_OR_RETURN(
      task_, trust::OpenAs<v1::RoundTask>(answer.task().task(), trust::kTaskDomain, coordinator));
  CHOIR_ASSIGN_OR_RETURN(run_, trust::OpenAs<v1::RunConfig>(answer.task().run_config(),
                                                            trust::kRunDomain, coordinator));
  CHOIR_ASSIGN_OR_RETURN(version_,
                         trust::OpenAs<v1::AdapterVersion>(answer.task().adapter_version(),
                                                           trust::kAdapterDomain, coordinator));
  run_digest_ = trust::DocumentDigest(answer.task().run_config());
  next_ = Next::kJoin;
  return true;
}

absl::StatusOr<bool> TestNode::Enter(NodeCalls& calls, absl::Time now) {
  v1::JoinCohortRequest request;
  request.set_run_id(task_.run_id());
  request.set_round(task_.round());
  request.set_lease_id(task_.lease_id());
  absl::StatusOr<std::optional<std::string>> config = calls.Join(request);
  if (absl::IsAborted(config.status())) {
    next_ = Next::kCheckIn;
    return true;
  }
  if (!config.ok()) return config.status();
  if (!config->has_value()) return false;
  secagg::ClientContext context;
  context.self = id_;
  CHOIR_ASSIGN_OR_RETURN(context.coordinator_key,
                         trust::PublicKeyFrom(AsBytes(manifest_.coordinator_key())));
  context.federation_id = federation_id_;
  context.run_id = task_.run_id();
  context.round = task_.round();
  CHOIR_ASSIGN_OR_RETURN(context.base_hash, DigestFrom(run_.base_model_digest(), "base"));
  CHOIR_ASSIGN_OR_RETURN(context.adapter_hash, DigestFrom(task_.adapter_digest(), "adapter"));
  context.lora_digest =
      trust::WorkDigest(run_digest_, task_.trained_factors(), version_.basis_digest());
  CHOIR_ASSIGN_OR_RETURN(const engine::Contribution contribution,
                         engine::ParseContribution(task_.trained_factors()));
  context.delta_length = engine::ContributionLength(TestAdapter(), contribution);
  context.last_round_counter = counter_;
  context.now = now;
  secagg::ClientPolicyOptions options;
  options.min_cohort = 3;
  CHOIR_ASSIGN_OR_RETURN(const secagg::ClientPolicy policy, secagg::ClientPolicy::Create(options));
  std::array<uint8_t, 32> seed{};
  random_.Fill(seed);
  verifier_.emplace(manifest_, now);
  CHOIR_ASSIGN_OR_RETURN(session_,
                         secagg::ClientSession::Start(AsBytes(**config), context, policy, signer_,
                                                      *verifier_, SecretBytes<32>(seed)));
  counter_ = session_->round_counter();
  session_id_ = std::string(AsChars(session_->session_id()));
  next_ = Next::kKeys;
  CHOIR_RETURN_IF_ERROR(Send(calls, session_->CurrentStep()));
  return true;
}

absl::StatusOr<bool> TestNode::Follow(NodeCalls& calls) {
  v1::PollSessionRequest request;
  request.set_session_id(session_id_);
  request.set_after_stage(static_cast<uint32_t>(next_) - static_cast<uint32_t>(Next::kKeys));
  CHOIR_ASSIGN_OR_RETURN(const std::optional<v1::SessionBroadcast> broadcast, calls.Poll(request));
  if (!broadcast.has_value()) return false;
  if (!broadcast->has_message()) {
    aborted_.push_back(broadcast->aborted_reason());
    next_ = Next::kCheckIn;
    return true;
  }
  CHOIR_RETURN_IF_ERROR(Answer(calls, AsBytes(broadcast->message().body())));
  return true;
}

absl::Status TestNode::Answer(NodeCalls& calls, std::span<const uint8_t> body) {
  switch (next_) {
    case Next::kKeys:
      next_ = Next::kShares;
      return Send(calls, session_->HandleKeyList(body));
    case Next::kShares:
      next_ = Next::kSurvivors;
      CHOIR_RETURN_IF_ERROR(Send(calls, session_->HandleShareDelivery(body)));
      return Upload(calls);
    case Next::kSurvivors:
      next_ = Next::kSignatures;
      return Send(calls, session_->HandleSurvivorList(body));
    case Next::kSignatures:
      next_ = Next::kResult;
      return Send(calls, session_->HandleSurvivorSignatures(body));
    default: {
      next_ = Next::kCheckIn;
      CHOIR_ASSIGN_OR_RETURN(secagg::RoundResult result, secagg::DecodeRoundResult(body));
      CHOIR_RETURN_IF_ERROR(session_->CheckResult(result));
      results_.push_back(std::move(result));
      return absl::OkStatus();
    }
  }
}

absl::Status TestNode::Send(NodeCalls& calls, absl::StatusOr<secagg::Step> step) {
  if (!step.ok()) return step.status();
  CHOIR_ASSIGN_OR_RETURN(
      const std::vector<uint8_t> message,
      std::move(*step).Release([](std::span<const uint8_t>) { return absl::OkStatus(); }));
  if (message.empty()) return absl::OkStatus();
  v1::SessionMessage out;
  out.set_session_id(session_id_);
  out.set_kind(message[0]);
  out.set_body(std::string(AsChars(message)));
  // Twice, as a node does that missed the answer.
  CHOIR_RETURN_IF_ERROR(calls.Send(out));
  const absl::Status again = calls.Send(out);
  // The first one may have been the session's last.
  return secagg::ReasonOf(again) == secagg::AbortReason::kSessionOver ? absl::OkStatus() : again;
}

absl::Status TestNode::Upload(NodeCalls& calls) {
  CHOIR_ASSIGN_OR_RETURN(const engine::Contribution contribution,
                         engine::ParseContribution(task_.trained_factors()));
  std::vector<float> delta(engine::ContributionLength(TestAdapter(), contribution));
  for (size_t i = 0; i < delta.size(); ++i) delta[i] = Delta(number_, task_.adapter_version(), i);
  secagg::ClientValues values;
  values.delta = delta;
  values.examples = 5;
  values.loss_sum = 20.0;
  values.token_count = 10;
  absl::StatusOr<secagg::Step> step = session_->MaskInput(values);
  if (!step.ok()) return step.status();
  CHOIR_ASSIGN_OR_RETURN(
      const std::vector<uint8_t> header,
      std::move(*step).Release([](std::span<const uint8_t>) { return absl::OkStatus(); }));
  std::vector<v1::MaskedInputChunk> stream(1);
  stream[0].set_session_id(session_id_);
  stream[0].set_body(std::string(AsChars(header)));
  for (uint32_t i = 0; i < session_->num_chunks(); ++i) {
    CHOIR_ASSIGN_OR_RETURN(const std::vector<uint8_t> chunk, session_->Chunk(i));
    v1::MaskedInputChunk& out = stream.emplace_back();
    out.set_session_id(session_id_);
    out.set_body(std::string(AsChars(chunk)));
  }
  CHOIR_ASSIGN_OR_RETURN(const v1::UploadAck ack, calls.Upload(stream));
  if (!ack.complete()) return absl::InternalError("the upload is not complete");
  return Send(calls, session_->MarkUploaded());
}

}  // namespace choir::coordinator
