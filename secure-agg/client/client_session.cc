#include "secure-agg/client/client_session.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "secure-agg/client/client_state.h"
#include "secure-agg/core/hkdf.h"
#include "secure-agg/core/masking.h"
#include "secure-agg/core/membership.h"
#include "secure-agg/core/seeded_bug.h"
#include "secure-agg/core/transcript.h"

namespace choir::secagg {
namespace {

using State = ClientSession::State;

absl::Status Unexpected(const State& state, std::string_view what) {
  return Refusal(AbortReason::kUnexpectedMessage,
                 fmt::format("{} does not fit stage {}", what, ClientStageName(state.stage)));
}

absl::Status Over(const State& state) {
  return Refusal(AbortReason::kSessionOver,
                 fmt::format("the session is {}{}{}", ClientStageName(state.stage),
                             state.reason.has_value() ? ": " : "",
                             state.reason.has_value() ? AbortReasonText(*state.reason) : ""));
}

// Ends the session for a cheat or for good: the reason stays, the secrets go.
absl::Status Fail(State& state, absl::Status refusal) {
  state.stage = ClientStage::kAborted;
  state.reason = ReasonOf(refusal).value_or(AbortReason::kSigningFailed);
  state.message.clear();
  state.Erase();
  return refusal;
}

absl::Status CheckSession(const State& state, const SessionId& session_id) {
  if (session_id == state.config.session_id) return absl::OkStatus();
  return Refusal(AbortReason::kForeignSession, "the message belongs to another session");
}

absl::StatusOr<Signature> Sign(const State& state, std::span<const uint8_t> bytes) {
  absl::StatusOr<Signature> signature = state.signer->Sign(bytes);
  if (signature.ok()) return signature;
  return Refusal(AbortReason::kSigningFailed, signature.status().ToString());
}

absl::StatusOr<ShareKeys> SealOwnShares(const State& state) {
  ShareKeys message{state.config.session_id, state.self, {}, {}};
  const Digest salt = PairSalt(state.h0, state.h1);
  for (uint32_t holder = 0; holder < state.list.entries.size(); ++holder) {
    if (holder == state.index) continue;
    const AdvertiseKeys& peer = state.list.entries[holder].keys;
    CHOIR_ASSIGN_OR_RETURN(const SecretBytes<32> key,
                           SealKey(state.keys.share, peer.share_key, true, salt));
    message.shares.push_back(
        {peer.node_id, SealShares(key, state.own_shares[holder],
                                  SealContext(state.h0, state.h1, state.self, peer.node_id))});
  }
  CHOIR_ASSIGN_OR_RETURN(message.signature,
                         Sign(state, ShareSigningBytes(state.h0, state.h1, message)));
  return message;
}

// + own mask, + masks with those above, - masks with those below: pairs cancel in the sum.
absl::StatusOr<std::vector<Mask>> MasksOf(const State& state) {
  const Digest salt = PairSalt(state.h0, state.h1);
  const MaskShape shape = state.mask_shape();
  std::vector<Mask> masks;
  masks.push_back({SelfMaskKey(state.keys.b, salt, shape), true});
  for (const uint32_t peer : state.members) {
    if (peer == state.index) continue;
    const bool own_first = state.index < peer;
    CHOIR_ASSIGN_OR_RETURN(SecretBytes<32> key,
                           PairMaskKey(state.keys.mask, state.list.entries[peer].keys.mask_key,
                                       own_first, salt, shape));
    masks.push_back({std::move(key), own_first});
  }
  return masks;
}

absl::StatusOr<std::vector<uint8_t>> MakeMaskedVector(const State& state,
                                                      const ClientValues& values,
                                                      ParallelFor parallel) {
  const SecretBytes<32> rounding = DeriveSecret(
      state.seed.Expose(), CHOIR_SEEDED_BUG(28) ? state.h1 : state.h0, "choir/client/rounding");
  CodecParams codec = CodecOf(state.config);
  // Not the owner's own minimum: every node must count on the same number.
  codec.assured = std::max(state.graph.shape().quorum, state.config.min_cohort);
  CHOIR_ASSIGN_OR_RETURN(std::vector<uint8_t> packed, EncodeValues(codec, values, rounding));
  absl::StatusOr<std::vector<Mask>> masks = MasksOf(state);
  if (!masks.ok()) {
    WipeBytes(packed);
    return masks.status();
  }
  ApplyMasks(packed, state.config.word_bits, state.config.prg, *masks, parallel);
  return packed;
}

absl::StatusOr<UnmaskShares> MakeUnmaskShares(const State& state) {
  UnmaskShares message{state.config.session_id, state.self, {}, {}};
  auto add = [&](uint32_t owner, ShareKind kind) {
    const std::optional<SharePair>& held = state.held[owner];
    if (!held.has_value()) return;
    UnmaskShare entry{state.IdOf(owner), kind, {}};
    std::ranges::copy((kind == ShareKind::kSelfMask ? held->self_mask : held->mask_key).Expose(),
                      entry.share.begin());
    message.shares.push_back(std::move(entry));
  };
  for (const uint32_t survivor : state.survivors) add(survivor, ShareKind::kSelfMask);
  for (const uint32_t dropped : state.dropped) {
    add(dropped, ShareKind::kMaskKey);
    if (CHOIR_SEEDED_BUG(5)) add(dropped, ShareKind::kSelfMask);
  }
  std::ranges::sort(message.shares, {}, &UnmaskShare::node_id);
  CHOIR_ASSIGN_OR_RETURN(message.signature, Sign(state, UnmaskSigningBytes(*state.h3, message)));
  return message;
}

}  // namespace

std::string_view ClientStageName(ClientStage stage) {
  constexpr std::string_view kNames[] = {"unknown", "advertised", "shared", "ready",  "masked",
                                         "signed",  "answered",   "closed", "aborted"};
  const auto index = static_cast<size_t>(stage);
  return index < std::size(kNames) ? kNames[index] : kNames[0];
}

absl::StatusOr<std::vector<uint8_t>> Step::Release(Persist persist) && {
  CHOIR_RETURN_IF_ERROR(persist(journal_.Expose()));
  return std::move(message_);
}

ClientSession::ClientSession(std::unique_ptr<State> state) : state_(std::move(state)) {}
ClientSession::ClientSession(ClientSession&&) noexcept = default;
ClientSession& ClientSession::operator=(ClientSession&&) noexcept = default;
ClientSession::~ClientSession() = default;

absl::StatusOr<ClientSession> ClientSession::Start(std::span<const uint8_t> config,
                                                   const ClientContext& context,
                                                   const ClientPolicy& policy, const Signer& signer,
                                                   const DeviceVerifier& verifier,
                                                   SecretBytes<32> seed) {
  auto state = std::make_unique<State>();
  CHOIR_ASSIGN_OR_RETURN(state->config, DecodeSessionConfig(config));
  CHOIR_RETURN_IF_ERROR(CheckConfig(state->config, context, policy));
  state->self = context.self;
  state->min_cohort = std::max(policy.options().min_cohort, state->config.min_cohort);
  state->signer = &signer;
  state->verifier = &verifier;
  state->h0 = HashConfig(state->config);
  state->keys = DeriveKeys(seed, state->h0);
  state->seed = std::move(seed);
  const ClientKeys& keys = state->keys;
  AdvertiseKeys message{state->config.session_id,
                        state->self,
                        keys.share.public_key,
                        keys.mask.public_key,
                        CommitSelfMask(keys.b, state->h0),
                        keys.nonce,
                        {}};
  CHOIR_ASSIGN_OR_RETURN(message.signature,
                         Sign(*state, AdvertiseSigningBytes(state->h0, message)));
  state->message = Encode(message);
  return ClientSession(std::move(state));
}

absl::StatusOr<Step> ClientSession::CurrentStep() const {
  if (state_->stage >= ClientStage::kClosed) return Over(*state_);
  return Step(Snapshot(), state_->message);
}

absl::StatusOr<Step> ClientSession::HandleKeyList(std::span<const uint8_t> bytes) {
  State& state = *state_;
  if (state.over()) return Over(state);
  if (state.stage == ClientStage::kShared && std::ranges::equal(bytes, state.key_list_bytes)) {
    return CurrentStep();
  }
  CHOIR_ASSIGN_OR_RETURN(AnyKeyList list, DecodeKeys(state.config.graph, bytes));
  CHOIR_RETURN_IF_ERROR(CheckSession(state, SessionOf(list)));
  if (state.stage != ClientStage::kAdvertised) {
    if (std::ranges::equal(bytes, state.key_list_bytes)) return Unexpected(state, "a key list");
    return Fail(state, Refusal(AbortReason::kSecondKeyList, "this session has a key list already"));
  }
  if (absl::Status checked = CheckKeyList(state, list); !checked.ok()) return Fail(state, checked);
  if (absl::Status adopted = state.AdoptKeyList(std::move(list)); !adopted.ok()) {
    return Fail(state, adopted);
  }
  absl::StatusOr<ShareKeys> message = SealOwnShares(state);
  if (!message.ok()) return Fail(state, message.status());
  state.key_list_bytes.assign(bytes.begin(), bytes.end());
  state.message = Encode(*message);
  state.stage = ClientStage::kShared;
  return CurrentStep();
}

absl::StatusOr<Step> ClientSession::HandleShareDelivery(std::span<const uint8_t> bytes) {
  State& state = *state_;
  if (state.over()) return Over(state);
  if (state.stage == ClientStage::kReady && std::ranges::equal(bytes, state.delivery_bytes)) {
    return CurrentStep();
  }
  CHOIR_ASSIGN_OR_RETURN(const AnyDelivery delivery, DecodeDelivery(state.config.graph, bytes));
  CHOIR_RETURN_IF_ERROR(CheckSession(state, SessionOf(delivery)));
  if (state.stage == ClientStage::kAdvertised ||
      (state.stage > ClientStage::kReady && std::ranges::equal(bytes, state.delivery_bytes))) {
    return Unexpected(state, "a share delivery");
  }
  if (state.stage != ClientStage::kShared) {
    return Fail(state, Refusal(AbortReason::kSecondShareDelivery,
                               "this session has a share delivery already"));
  }
  absl::Status checked = CheckDelivery(state, delivery);
  if (checked.ok()) checked = state.AdoptDelivery(delivery);
  if (!checked.ok()) return Fail(state, checked);
  const auto opened =
      std::ranges::count_if(state.held, [](const auto& held) { return held.has_value(); });
  // In a regular graph only neighbours share with this node.
  const uint32_t wanted = state.graph.shape().complete() ? state.needed() : state.graph.threshold();
  if (opened < static_cast<ptrdiff_t>(wanted)) {
    return Fail(state, Refusal(AbortReason::kBadShare,
                               fmt::format("the shares of only {} nodes open, {} are needed",
                                           opened, wanted)));
  }
  state.delivery_bytes.assign(bytes.begin(), bytes.end());
  state.message.clear();
  state.stage = ClientStage::kReady;
  return CurrentStep();
}

absl::StatusOr<Step> ClientSession::MaskInput(const ClientValues& values, ParallelFor parallel) {
  State& state = *state_;
  if (state.over()) return Over(state);
  if (state.stage != ClientStage::kReady && state.stage != ClientStage::kMasked) {
    return Unexpected(state, "an input");
  }
  absl::StatusOr<std::vector<uint8_t>> packed = MakeMaskedVector(state, values, parallel);
  if (!packed.ok()) return Fail(state, packed.status());
  ChunkStream stream(state.config.session_id, state.self, *std::move(packed), kMaxChunkBytes);
  if (state.stage == ClientStage::kMasked && stream.input_hash() != state.input_hash &&
      !CHOIR_SEEDED_BUG(24)) {
    return Fail(state, Refusal(AbortReason::kSecondMaskedInput,
                               "these values make another input than the one already announced"));
  }
  if (state.stage == ClientStage::kReady) {
    MaskedInputHeader header{state.config.session_id, state.self,          stream.total_bytes(),
                             stream.chunk_bytes(),    stream.input_hash(), {}};
    absl::StatusOr<Signature> signature =
        Sign(state, InputSigningBytes(state.h0, state.h1, state.h2, header));
    if (!signature.ok()) return Fail(state, signature.status());
    header.signature = *signature;
    state.input_hash = header.input_hash;
    state.message = Encode(header);
    state.spent = true;
    state.stage = ClientStage::kMasked;
  }
  state.stream = std::move(stream);
  return CurrentStep();
}

absl::StatusOr<Step> ClientSession::MarkUploaded() {
  if (state_->over()) return Over(*state_);
  if (state_->stage < ClientStage::kMasked) return Unexpected(*state_, "an acknowledged upload");
  state_->uploaded = true;
  return Step(Snapshot(), {});
}

absl::StatusOr<Step> ClientSession::HandleSurvivorList(std::span<const uint8_t> bytes) {
  State& state = *state_;
  const bool repeated = state.stage >= ClientStage::kSigned && state.h3.has_value() &&
                        Sha256Of(bytes) == state.survivors_digest;
  if (state.stage == ClientStage::kSigned && repeated) return CurrentStep();
  if (state.stage == ClientStage::kAborted || state.stage == ClientStage::kClosed || repeated) {
    return Over(state);
  }
  CHOIR_ASSIGN_OR_RETURN(const AnySurvivors list, DecodeSurvivors(state.config.graph, bytes));
  CHOIR_RETURN_IF_ERROR(CheckSession(state, SessionOf(list)));
  if (state.stage < ClientStage::kMasked) return Unexpected(state, "a survivor list");
  if (state.stage != ClientStage::kMasked &&
      !(CHOIR_SEEDED_BUG(6) && state.stage == ClientStage::kSigned)) {
    absl::Status second = Refusal(AbortReason::kTwoSurvivorLists,
                                  "this node signed another survivor list in this session");
    return state.over() ? second : Fail(state, second);
  }
  absl::Status checked = CheckSurvivors(state, list);
  if (checked.ok()) checked = state.AdoptSurvivors(list);
  if (!checked.ok()) return Fail(state, checked);
  ConsistencySignature message{state.config.session_id, state.self, *state.h3, {}};
  absl::StatusOr<Signature> signature =
      Sign(state, ConsistencySigningBytes(state.h0, state.h1, state.h2, *state.h3));
  if (!signature.ok()) return Fail(state, signature.status());
  message.signature = *signature;
  state.survivors_bytes.assign(bytes.begin(), bytes.end());
  state.survivors_digest = Sha256Of(bytes);
  state.message = Encode(message);
  state.stage = ClientStage::kSigned;
  state.stream.reset();
  return CurrentStep();
}

absl::StatusOr<Step> ClientSession::HandleSurvivorSignatures(std::span<const uint8_t> bytes) {
  State& state = *state_;
  if (state.stage == ClientStage::kAnswered || state.stage == ClientStage::kClosed) {
    if (Sha256Of(bytes) == state.request_digest || CHOIR_SEEDED_BUG(10)) return CurrentStep();
    CHOIR_ASSIGN_OR_RETURN(const SurvivorSignatures second, DecodeSurvivorSignatures(bytes));
    CHOIR_RETURN_IF_ERROR(CheckSession(state, second.session_id));
    return Refusal(AbortReason::kSecondUnmaskRequest, "this node answered once, and only once");
  }
  if (state.over()) return Over(state);
  CHOIR_ASSIGN_OR_RETURN(const SurvivorSignatures message, DecodeSurvivorSignatures(bytes));
  CHOIR_RETURN_IF_ERROR(CheckSession(state, message.session_id));
  if (state.stage != ClientStage::kSigned) return Unexpected(state, "a request to unmask");
  if (absl::Status checked = CheckSignatures(state, message); !checked.ok()) {
    return Fail(state, checked);
  }
  absl::StatusOr<UnmaskShares> answer = MakeUnmaskShares(state);
  if (!answer.ok()) return Fail(state, answer.status());
  state.message = Encode(*answer);
  state.request_digest = Sha256Of(bytes);
  state.stage = ClientStage::kAnswered;
  if (!CHOIR_SEEDED_BUG(18)) state.Erase();
  return CurrentStep();
}

absl::StatusOr<Step> ClientSession::Close() {
  if (state_->stage == ClientStage::kAborted) return Over(*state_);
  if (state_->stage < ClientStage::kAnswered) return Unexpected(*state_, "the end");
  state_->stage = ClientStage::kClosed;
  state_->message.clear();
  return Step(Snapshot(), {});
}

Step ClientSession::Abandon(AbortReason reason) {
  if (!state_->over()) Fail(*state_, Refusal(reason, "abandoned")).IgnoreError();
  return Step(Snapshot(), {});
}

uint32_t ClientSession::num_chunks() const {
  return state_->stream.has_value() ? state_->stream->num_chunks() : 0;
}

absl::StatusOr<std::vector<uint8_t>> ClientSession::Chunk(uint32_t sequence) const {
  if (!state_->stream.has_value()) return Unexpected(*state_, "sending chunks");
  if (sequence >= num_chunks()) {
    return absl::OutOfRangeError(fmt::format("chunk {} of {}", sequence, num_chunks()));
  }
  return Encode(state_->stream->Chunk(sequence));
}

bool ClientSession::uploaded() const {
  return state_->uploaded;
}
void ClientSession::ForgetInput() {
  state_->stream.reset();
}
ClientStage ClientSession::stage() const {
  return state_->stage;
}
const SessionId& ClientSession::session_id() const {
  return state_->config.session_id;
}
uint64_t ClientSession::round_counter() const {
  return state_->config.round_counter;
}
std::optional<AbortReason> ClientSession::abort_reason() const {
  return state_->reason;
}
bool ClientSession::input_spent() const {
  return state_->spent;
}
std::optional<Digest> ClientSession::h3() const {
  return state_->h3;
}
const SessionConfig& ClientSession::config() const {
  return state_->config;
}
const Digest& ClientSession::adapter_hash() const {
  return state_->config.adapter_hash;
}

absl::Status ClientSession::CheckResult(const RoundResult& result) const {
  const SessionConfig& config = state_->config;
  if (result.session_id != config.session_id || result.federation_id != config.federation_id ||
      result.run_id != config.run_id || result.round != config.round) {
    return Refusal(AbortReason::kForeignSession, "the result is of another session");
  }
  if (state_->h3.has_value() &&
      (result.h3 != *state_->h3 ||
       std::ranges::find(result.contributors, state_->self) == result.contributors.end())) {
    return Refusal(AbortReason::kResultMismatch,
                   "the result speaks of another survivor list than this node signed");
  }
  const PrivacyParams& promised = config.privacy;
  const PrivacySpent& said = result.privacy;
  if (said.mechanism != promised.mechanism ||
      (promised.mechanism != NoiseMechanism::kNone &&
       (said.noise_multiplier != promised.noise_multiplier || said.delta != promised.delta ||
        said.clip_norm != config.clip_norm))) {
    return Refusal(AbortReason::kResultMismatch,
                   "the result speaks of other noise than this node took part under");
  }
  return absl::OkStatus();
}

}  // namespace choir::secagg
