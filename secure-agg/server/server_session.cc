#include "secure-agg/server/server_session.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "secure-agg/core/chunks.h"
#include "secure-agg/core/masking.h"
#include "secure-agg/core/membership.h"
#include "secure-agg/core/seeded_bug.h"
#include "secure-agg/core/shamir.h"
#include "secure-agg/core/transcript.h"
#include "secure-agg/server/server_state.h"

namespace choir::secagg {
namespace {

using State = ServerSession::State;

absl::Status Over(const State& state) {
  return Refusal(AbortReason::kSessionOver,
                 fmt::format("the session is {}{}{}", ServerStageName(state.stage),
                             state.reason.has_value() ? ": " : "",
                             state.reason.has_value() ? AbortReasonText(*state.reason) : ""));
}

// The message may come now, from this node, which has not fallen out. `wanted` is its stage.
absl::Status CheckTurn(const State& state, const NodeId& node, const NodeId& claimed,
                       const SessionId& session_id, ServerStage wanted) {
  if (session_id != state.config.session_id || node != claimed) {
    return Refusal(AbortReason::kForeignSession,
                   "the message names another session or another node than its sender");
  }
  if (state.over()) return Over(state);
  if (state.stage < wanted) {
    return Refusal(
        AbortReason::kUnexpectedMessage,
        fmt::format("the session is {} and cannot take this yet", ServerStageName(state.stage)));
  }
  if (state.stage > wanted) {
    return Refusal(AbortReason::kTooLate,
                   fmt::format("the session is {} already", ServerStageName(state.stage)));
  }
  if (wanted == ServerStage::kAdvertising) return absl::OkStatus();
  const std::vector<NodeId> expected = state.Expected();
  if (!std::ranges::binary_search(expected, node)) {
    return Refusal(AbortReason::kUnknownMember, "the session went on without this node");
  }
  if (state.nodes.at(node).withdrawn) {
    return Refusal(AbortReason::kCancelled, "this node has withdrawn");
  }
  return absl::OkStatus();
}

// True if this very message is here already; an error if another one is.
template <typename Message>
absl::StatusOr<bool> IsRepeat(const std::optional<Message>& had, const Message& now,
                              AbortReason reason) {
  if (!had.has_value()) return false;
  if (*had == now) return true;
  return Refusal(reason, "this node has sent another message of this stage before");
}

absl::Status CheckSigned(const State& state, const NodeId& node, std::span<const uint8_t> bytes,
                         const Signature& signature) {
  if (VerifySignature(state.nodes.at(node).device_key, bytes, signature)) return absl::OkStatus();
  return Refusal(AbortReason::kBadSignature, "the node's signature does not verify");
}

// The stage is checked again by the caller for a repeat: a node may send its last message again
// late.
template <typename Message>
bool Has(const State& state, const NodeId& node, std::optional<Message> Participant::*field,
         const Message& message) {
  const auto found = state.nodes.find(node);
  return found != state.nodes.end() && found->second.*field == std::optional<Message>(message);
}

absl::Status CheckHeader(const State& state, const NodeId& node, const MaskedInputHeader& header) {
  CHOIR_RETURN_IF_ERROR(
      CheckTurn(state, node, header.node_id, header.session_id, ServerStage::kMasking));
  const uint64_t wanted = PackedBytes(CodecOf(state.config));
  if (header.total_bytes != wanted || header.chunk_bytes == 0 ||
      header.chunk_bytes > kMaxChunkBytes) {
    return Refusal(AbortReason::kShapeMismatch,
                   fmt::format("an input of {} bytes in chunks of {}, expected {} in chunks of 1 "
                               "to {}",
                               header.total_bytes, header.chunk_bytes, wanted, kMaxChunkBytes));
  }
  CHOIR_RETURN_IF_ERROR(
      IsRepeat(state.nodes.at(node).input, header, AbortReason::kSecondMaskedInput).status());
  return CheckSigned(state, node, InputSigningBytes(state.h0, state.h1, state.h2, header),
                     header.signature);
}

}  // namespace

std::string_view ServerStageName(ServerStage stage) {
  constexpr std::string_view kNames[] = {"unknown", "advertising", "sharing", "masking",
                                         "signing", "unmasking",   "done",    "aborted"};
  const auto index = static_cast<size_t>(stage);
  return index < std::size(kNames) ? kNames[index] : kNames[0];
}

ServerSession::ServerSession(std::unique_ptr<State> state) : state_(std::move(state)) {}
ServerSession::ServerSession(ServerSession&&) noexcept = default;
ServerSession& ServerSession::operator=(ServerSession&&) noexcept = default;
ServerSession::~ServerSession() = default;

absl::StatusOr<ServerSession> ServerSession::Open(const SessionConfig& config,
                                                  const DeviceVerifier& verifier) {
  CHOIR_RETURN_IF_ERROR(ValidateConfig(config));
  CHOIR_RETURN_IF_ERROR(DecodeSessionConfig(Encode(config)).status());
  auto state = std::make_unique<State>();
  state->config = config;
  state->verifier = &verifier;
  state->ComputeTranscript();
  state->Keep(PieceKind::kConfig, {});
  return ServerSession(std::move(state));
}

absl::Status ServerSession::AddAdvertiseKeys(const DeviceIdentity& identity,
                                             std::span<const uint8_t> bytes) {
  State& state = *state_;
  CHOIR_ASSIGN_OR_RETURN(const AdvertiseKeys message, DecodeAdvertiseKeys(bytes));
  if (Has(state, identity.node_id, &Participant::advertised, message)) return absl::OkStatus();
  CHOIR_RETURN_IF_ERROR(CheckTurn(state, identity.node_id, message.node_id, message.session_id,
                                  ServerStage::kAdvertising));
  if (const auto had = state.nodes.find(identity.node_id); had != state.nodes.end()) {
    CHOIR_RETURN_IF_ERROR(
        IsRepeat(had->second.advertised, message, AbortReason::kRepeatedNode).status());
  }
  if (state.nodes.size() >= state.config.max_cohort) {
    return Refusal(AbortReason::kCohortAboveMaximum,
                   fmt::format("the cohort is full with {} nodes", state.nodes.size()));
  }
  if (identity.credential.size() > kMaxCredentialBytes) {
    return Refusal(AbortReason::kForeignKey,
                   fmt::format("a credential of {} bytes; at most {}", identity.credential.size(),
                               kMaxCredentialBytes));
  }
  if (absl::Status certified =
          state.verifier->Verify(identity.node_id, identity.device_key, identity.credential);
      !certified.ok()) {
    return Refusal(AbortReason::kForeignKey, certified.ToString());
  }
  // What one node would refuse in the key list must not get into it.
  std::vector<KeyListEntry> entries;
  for (const auto& [id, node] : state.nodes) {
    entries.push_back({node.device_key, node.credential, *node.advertised});
  }
  entries.push_back({identity.device_key, identity.credential, message});
  CHOIR_RETURN_IF_ERROR(CheckDistinct(entries));
  CHOIR_RETURN_IF_ERROR(CheckEntry(state.h0, entries.back()));
  Participant& node = state.nodes[identity.node_id];
  node.device_key = identity.device_key;
  node.credential = identity.credential;
  node.advertised = message;
  state.Keep(PieceKind::kAdvertised, identity.node_id);
  return absl::OkStatus();
}

absl::Status ServerSession::AddShareKeys(const NodeId& node, std::span<const uint8_t> bytes) {
  State& state = *state_;
  CHOIR_ASSIGN_OR_RETURN(ShareKeys message, DecodeShareKeys(bytes));
  if (Has(state, node, &Participant::shared, message)) return absl::OkStatus();
  CHOIR_RETURN_IF_ERROR(
      CheckTurn(state, node, message.node_id, message.session_id, ServerStage::kSharing));
  Participant& from = state.nodes.at(node);
  CHOIR_RETURN_IF_ERROR(IsRepeat(from.shared, message, AbortReason::kBadShare).status());
  const std::vector<uint32_t> neighbours = state.graph.Neighbours(*IndexOf(state.list, node));
  bool covers = neighbours.size() == message.shares.size();
  for (size_t i = 0; covers && i < neighbours.size(); ++i) {
    covers = state.list.entries[neighbours[i]].keys.node_id == message.shares[i].node_id;
  }
  if (!covers) {
    return Refusal(AbortReason::kBadShare,
                   fmt::format("{} sealed shares are not one for each of its {} neighbours",
                               message.shares.size(), neighbours.size()));
  }
  CHOIR_RETURN_IF_ERROR(
      CheckSigned(state, node, ShareSigningBytes(state.h0, state.h1, message), message.signature));
  from.shared = std::move(message);
  state.Keep(PieceKind::kShared, node);
  return absl::OkStatus();
}

absl::StatusOr<MaskedInputHeader> ServerSession::CheckInputHeader(
    const NodeId& node, std::span<const uint8_t> header) const {
  CHOIR_ASSIGN_OR_RETURN(MaskedInputHeader decoded, DecodeMaskedInputHeader(header));
  if (Has(*state_, node, &Participant::input, decoded)) return decoded;
  CHOIR_RETURN_IF_ERROR(CheckHeader(*state_, node, decoded));
  return decoded;
}

absl::Status ServerSession::AddInput(const NodeId& node, std::span<const uint8_t> header,
                                     std::span<const uint8_t> packed) {
  State& state = *state_;
  CHOIR_ASSIGN_OR_RETURN(const MaskedInputHeader decoded, DecodeMaskedInputHeader(header));
  const bool counted = Has(state, node, &Participant::input, decoded);
  if (counted && !CHOIR_SEEDED_BUG(19) && (state.nodes.at(node).accumulated || state.over())) {
    return absl::OkStatus();
  }
  if (!counted) CHOIR_RETURN_IF_ERROR(CheckHeader(state, node, decoded));
  if (packed.size() != decoded.total_bytes ||
      HashInput(packed, decoded.chunk_bytes) != decoded.input_hash) {
    return Refusal(AbortReason::kChunkDamaged,
                   fmt::format("the {} bytes of the input have another hash than their header says",
                               packed.size()));
  }
  AddWords(state.accumulator, packed, state.config.word_bits);
  Participant& from = state.nodes.at(node);
  from.accumulated = true;
  if (counted) return absl::OkStatus();
  from.input = decoded;
  state.Keep(PieceKind::kInput, node);
  return absl::OkStatus();
}

absl::Status ServerSession::AddConsistencySignature(const NodeId& node,
                                                    std::span<const uint8_t> bytes) {
  State& state = *state_;
  CHOIR_ASSIGN_OR_RETURN(const ConsistencySignature message, DecodeConsistencySignature(bytes));
  if (Has(state, node, &Participant::vouched, message)) return absl::OkStatus();
  CHOIR_RETURN_IF_ERROR(
      CheckTurn(state, node, message.node_id, message.session_id, ServerStage::kSigning));
  Participant& from = state.nodes.at(node);
  CHOIR_RETURN_IF_ERROR(IsRepeat(from.vouched, message, AbortReason::kTwoSurvivorLists).status());
  if (message.h3 != state.h3) {
    return Refusal(AbortReason::kTwoSurvivorLists, "the node signed another survivor list");
  }
  CHOIR_RETURN_IF_ERROR(CheckSigned(state, node,
                                    ConsistencySigningBytes(state.h0, state.h1, state.h2, state.h3),
                                    message.signature));
  from.vouched = message;
  state.Keep(PieceKind::kVouched, node);
  return absl::OkStatus();
}

absl::Status ServerSession::AddUnmaskShares(const NodeId& node, std::span<const uint8_t> bytes) {
  State& state = *state_;
  CHOIR_ASSIGN_OR_RETURN(UnmaskShares message, DecodeUnmaskShares(bytes));
  if (Has(state, node, &Participant::answered, message)) return absl::OkStatus();
  CHOIR_RETURN_IF_ERROR(
      CheckTurn(state, node, message.node_id, message.session_id, ServerStage::kUnmasking));
  Participant& from = state.nodes.at(node);
  CHOIR_RETURN_IF_ERROR(
      IsRepeat(from.answered, message, AbortReason::kSecondUnmaskRequest).status());
  CHOIR_RETURN_IF_ERROR(
      CheckSigned(state, node, UnmaskSigningBytes(state.h3, message), message.signature));
  const NodeId* before = nullptr;
  for (const UnmaskShare& entry : message.shares) {
    const bool ascending = before == nullptr || *before < entry.node_id;
    before = &entry.node_id;
    const bool survived = std::ranges::binary_search(state.survivors.survivors, entry.node_id, {},
                                                     &Survivor::node_id);
    const bool dropped = std::ranges::binary_search(state.survivors.dropped, entry.node_id);
    const ShareKind wanted = survived ? ShareKind::kSelfMask : ShareKind::kMaskKey;
    const bool asked_for = CHOIR_SEEDED_BUG(20) || entry.kind == wanted;
    if (!ascending || (!survived && !dropped) || !asked_for || !IsCanonicalScalar(entry.share)) {
      return Refusal(AbortReason::kBadShare,
                     "a share is out of order, not asked for, or no canonical scalar");
    }
  }
  from.answered = std::move(message);
  state.Keep(PieceKind::kAnswered, node);
  return absl::OkStatus();
}

absl::Status ServerSession::Withdraw(const NodeId& node) {
  const auto found = state_->nodes.find(node);
  if (found == state_->nodes.end()) {
    return Refusal(AbortReason::kUnknownMember, "the node is not of this session");
  }
  if (state_->stage == ServerStage::kAdvertising) {
    state_->Forget(PieceKind::kAdvertised, node);
    state_->nodes.erase(found);
  } else if (!found->second.withdrawn) {
    found->second.withdrawn = true;
    state_->Keep(PieceKind::kWithdrawn, node);
  }
  return absl::OkStatus();
}

void ServerSession::Abort(AbortReason reason) {
  if (state_->over()) return;
  state_->stage = ServerStage::kAborted;
  state_->reason = reason;
  state_->accumulator.clear();
}

ServerStage ServerSession::stage() const {
  return state_->stage;
}
const SessionConfig& ServerSession::config() const {
  return state_->config;
}
std::optional<AbortReason> ServerSession::abort_reason() const {
  return state_->reason;
}

absl::StatusOr<SessionSum> ServerSession::TakeSum() && {
  if (state_->stage != ServerStage::kDone || !state_->sum.has_value()) {
    return Refusal(AbortReason::kUnexpectedMessage, fmt::format("no sum to take: the session is {}",
                                                                ServerStageName(state_->stage)));
  }
  SessionSum sum = *std::move(state_->sum);
  state_->sum.reset();
  return sum;
}

}  // namespace choir::secagg
