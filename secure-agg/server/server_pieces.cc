#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "secure-agg/core/message_fields.h"
#include "secure-agg/core/transcript.h"
#include "secure-agg/core/wire.h"
#include "secure-agg/server/server_state.h"

// A session's durable state in pieces, so that one message changes one piece and the head, however
// many nodes there are: the configuration once, each accepted message of a node as its own piece,
// and the head with the stage and a check over all others.
namespace choir::secagg {
namespace {

constexpr uint8_t kHeadKind = 101;
constexpr uint8_t kHeadVersion = 2;
constexpr size_t kHashBytes = 32;
// A node's messages are five, and it may withdraw.
constexpr size_t kMaxPieces = size_t{kMaxMembers} * 6 + 2;
const NodeId kNobody;

absl::Status Damaged(std::string_view detail) {
  return Refusal(AbortReason::kDamagedJournal, detail);
}

std::string KeyOf(PieceKind kind, const NodeId& id) {
  return static_cast<char>(kind) + id;
}

std::vector<uint8_t> ValueOf(const ServerSession::State& state, PieceKind kind, const NodeId& id) {
  WireWriter writer;
  if (kind == PieceKind::kConfig) {
    Fields(writer, state.config);
    return std::move(writer).Take();
  }
  const Participant& node = state.nodes.at(id);
  switch (kind) {
    case PieceKind::kAdvertised:
      writer.Fixed(node.device_key);
      writer.Blob(node.credential, kMaxCredentialBytes);
      Fields(writer, *node.advertised);
      break;
    case PieceKind::kShared:
      Fields(writer, *node.shared);
      break;
    case PieceKind::kInput:
      Fields(writer, *node.input);
      break;
    case PieceKind::kVouched:
      Fields(writer, *node.vouched);
      break;
    case PieceKind::kAnswered:
      Fields(writer, *node.answered);
      break;
    default:
      writer.Number(uint8_t{1});  // withdrawn
      break;
  }
  return std::move(writer).Take();
}

// Finds what a disk or a person did to a piece or the set of them; no shield against a forger, who
// could write the head, too. In the same way in and out.
void MixInto(Digest& check, const std::string& key, std::span<const uint8_t> value) {
  std::vector<uint8_t> bytes(key.begin(), key.end());
  bytes.insert(bytes.end(), value.begin(), value.end());
  const Digest hash = Sha256Of(bytes);
  for (size_t i = 0; i < check.size(); ++i) check[i] ^= hash[i];
}

SessionPiece HeadOf(const ServerSession::State& state) {
  // A sum is never in the pieces: a session that has one goes on from the stage before.
  const ServerStage stage =
      state.stage == ServerStage::kDone ? ServerStage::kUnmasking : state.stage;
  WireWriter writer;
  writer.Number(kHeadKind);
  writer.Number(kHeadVersion);
  writer.Number(static_cast<uint8_t>(stage));
  writer.Number(state.reason.has_value() ? static_cast<uint8_t>(*state.reason) : uint8_t{0});
  writer.Number(state.num_pieces);
  writer.Fixed(state.pieces_check);
  std::vector<uint8_t> value = std::move(writer).Take();
  const Digest check = Sha256Of(value);
  value.insert(value.end(), check.begin(), check.end());
  return {KeyOf(PieceKind::kHead, kNobody), std::move(value)};
}

// The stage and what the other pieces must come to.
absl::Status ReadHead(std::span<const uint8_t> value, ServerSession::State& state) {
  if (value.size() < kHashBytes ||
      !std::ranges::equal(Sha256Of(value.first(value.size() - kHashBytes)),
                          value.last(kHashBytes))) {
    return Damaged(
        fmt::format("the {} bytes of the session's head are torn or changed", value.size()));
  }
  WireReader reader(value.first(value.size() - kHashBytes));
  uint8_t kind = 0;
  uint8_t version = 0;
  uint8_t reason = 0;
  reader.Number(kind);
  reader.Number(version);
  if (kind != kHeadKind || version != kHeadVersion) {
    return Damaged(
        fmt::format("kind {} version {} is no session's head of this program", kind, version));
  }
  reader.Enum(state.stage, 1, 7);
  reader.Number(reason);
  reader.Number(state.num_pieces);
  reader.Fixed(state.pieces_check);
  if (!reader.AtEnd() || state.stage == ServerStage::kDone) {
    return Damaged("the session's head has a field out of range");
  }
  if (reason != 0) state.reason = AbortReasonFromNumber(reason);
  return absl::OkStatus();
}

absl::Status ReadPiece(const SessionPiece& piece, ServerSession::State& state) {
  WireReader reader(piece.value);
  const auto kind = static_cast<PieceKind>(piece.key[0]);
  const NodeId id = piece.key.substr(1);
  if (kind == PieceKind::kConfig) {
    Fields(reader, state.config);
    return reader.AtEnd() ? absl::OkStatus() : Damaged("the session's configuration is damaged");
  }
  if (id.empty() || id.size() > kMaxIdBytes) return Damaged("a piece of a node without an id");
  Participant& node = state.nodes[id];
  uint8_t withdrawn = 0;
  switch (kind) {
    case PieceKind::kAdvertised:
      reader.Fixed(node.device_key);
      reader.Blob(node.credential, kMaxCredentialBytes);
      Fields(reader, node.advertised.emplace());
      break;
    case PieceKind::kShared:
      Fields(reader, node.shared.emplace());
      break;
    case PieceKind::kInput:
      Fields(reader, node.input.emplace());
      break;
    case PieceKind::kVouched:
      Fields(reader, node.vouched.emplace());
      break;
    case PieceKind::kAnswered:
      Fields(reader, node.answered.emplace());
      break;
    case PieceKind::kWithdrawn:
      reader.Number(withdrawn);
      node.withdrawn = withdrawn == 1;
      break;
    default:
      return Damaged("a piece of a kind that this program does not know");
  }
  return reader.AtEnd() ? absl::OkStatus() : Damaged("a stored message of a node is damaged");
}

// What every session of this class obeys; forged pieces must not break the session's own rules.
absl::Status CheckConsistent(const ServerSession::State& state) {
  const bool listed = state.stage > ServerStage::kAdvertising;
  for (const auto& [id, node] : state.nodes) {
    const bool chain = node.advertised.has_value() && node.advertised->node_id == id &&
                       (!node.shared.has_value() || listed) &&
                       (!node.input.has_value() || node.shared.has_value()) &&
                       (!node.vouched.has_value() || node.input.has_value()) &&
                       (!node.answered.has_value() || node.vouched.has_value());
    if (!chain) return Damaged("a node of the stored session skipped a stage");
  }
  return absl::OkStatus();
}

// Each has sealed shares for its neighbours, as the transcript's graph gives them.
absl::Status CheckShares(const ServerSession::State& state) {
  for (uint32_t place = 0; place < state.list.entries.size(); ++place) {
    const Participant& node = state.nodes.at(state.list.entries[place].keys.node_id);
    if (!node.shared.has_value()) continue;
    const std::vector<uint32_t> neighbours = state.graph.Neighbours(place);
    const bool covers = std::ranges::equal(
        node.shared->shares, neighbours, {}, &SealedShare::node_id,
        [&](uint32_t i) -> const NodeId& { return state.list.entries[i].keys.node_id; });
    if (!covers) return Damaged("a node of the stored session shared with another cohort");
  }
  return absl::OkStatus();
}

// Reads all pieces into `state`, and checks that they are the ones that the head tells of.
absl::Status ReadPieces(std::span<const SessionPiece> pieces, ServerSession::State& state) {
  if (pieces.size() > kMaxPieces) {
    return Damaged(fmt::format("{} pieces; a session has {} at most", pieces.size(), kMaxPieces));
  }
  const std::string head_key = KeyOf(PieceKind::kHead, kNobody);
  const auto head = std::ranges::find(pieces, head_key, &SessionPiece::key);
  if (head == pieces.end()) return Damaged("the stored session has no head");
  CHOIR_RETURN_IF_ERROR(ReadHead(head->value, state));
  Digest check{};
  uint32_t count = 0;
  for (const SessionPiece& piece : pieces) {
    if (piece.key == head_key) continue;
    if (piece.key.empty()) return Damaged("a piece without a key");
    MixInto(check, piece.key, piece.value);
    ++count;
    CHOIR_RETURN_IF_ERROR(ReadPiece(piece, state));
  }
  if (count == state.num_pieces && check == state.pieces_check) return absl::OkStatus();
  return Damaged(fmt::format("{} pieces of the session are there, not the {} that its head names",
                             count, state.num_pieces));
}

}  // namespace

void ServerSession::State::Keep(PieceKind kind, const NodeId& id) {
  const std::string key = KeyOf(kind, id);
  std::vector<uint8_t> value = ValueOf(*this, kind, id);
  MixInto(pieces_check, key, value);
  ++num_pieces;
  unstored[key] = std::move(value);
}

void ServerSession::State::Forget(PieceKind kind, const NodeId& id) {
  const std::string key = KeyOf(kind, id);
  MixInto(pieces_check, key, ValueOf(*this, kind, id));
  --num_pieces;
  unstored[key].clear();
}

std::vector<SessionPiece> ServerSession::Changes() const {
  std::vector<SessionPiece> changes = {HeadOf(*state_)};
  for (const auto& [key, value] : state_->unstored) changes.push_back({key, value});
  return changes;
}

void ServerSession::Stored() {
  state_->unstored.clear();
}

absl::StatusOr<ServerSession> ServerSession::Restore(std::span<const SessionPiece> pieces,
                                                     const DeviceVerifier& verifier) {
  auto state = std::make_unique<State>();
  CHOIR_RETURN_IF_ERROR(ReadPieces(pieces, *state));
  CHOIR_RETURN_IF_ERROR(ValidateConfig(state->config));
  CHOIR_RETURN_IF_ERROR(CheckConsistent(*state));
  if (!state->over() && state->stage >= ServerStage::kMasking) {
    state->accumulator.assign(PackedBytes(CodecOf(state->config)), 0);
  }
  state->verifier = &verifier;
  state->ComputeTranscript();
  CHOIR_RETURN_IF_ERROR(CheckShares(*state));
  return ServerSession(std::move(state));
}

}  // namespace choir::secagg
