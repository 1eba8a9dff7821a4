#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "secure-agg/core/message_fields.h"
#include "secure-agg/core/transcript.h"
#include "secure-agg/core/wire.h"
#include "secure-agg/server/server_state.h"

// The snapshot: kind and version, what was received, the accumulator if it is kFull, and a SHA-256.
namespace choir::secagg {
namespace {

constexpr uint8_t kSnapshotKind = 101;
constexpr uint8_t kSnapshotVersion = 1;

struct NamedParticipant {
  NodeId id;
  Participant node;
};

template <typename A, typename T>
void OptionalFields(A& a, const std::optional<T>& value) {
  a.Number(static_cast<uint8_t>(value.has_value()));
  if (value.has_value()) Fields(a, *value);
}

template <typename T>
void OptionalFields(WireReader& a, std::optional<T>& value) {
  uint8_t present = 0;
  a.Number(present);
  if (present > 1) return a.Fail();
  if (present == 1) Fields(a, value.emplace());
}

constexpr auto kParticipantFields = [](auto& a, auto& entry) {
  kNodeIdField(a, entry.id);
  a.Fixed(entry.node.device_key);
  a.Blob(entry.node.credential, kMaxCredentialBytes);
  OptionalFields(a, entry.node.advertised);
  OptionalFields(a, entry.node.shared);
  OptionalFields(a, entry.node.input);
  OptionalFields(a, entry.node.vouched);
  OptionalFields(a, entry.node.answered);
};

absl::Status Damaged(std::string_view detail) {
  return Refusal(AbortReason::kDamagedJournal, detail);
}

// The stage that a snapshot without the sum can go on from.
ServerStage StoredStage(const ServerSession::State& state, SnapshotKind kind) {
  return state.stage == ServerStage::kDone && kind == SnapshotKind::kStateOnly
             ? ServerStage::kUnmasking
             : state.stage;
}

// What every snapshot of this class obeys; a forged one must not break the session's own rules.
absl::Status CheckConsistent(const ServerSession::State& state) {
  const bool listed = state.stage > ServerStage::kAdvertising;
  for (const auto& [id, node] : state.nodes) {
    const bool chain = node.advertised.has_value() && node.advertised->node_id == id &&
                       (!node.shared.has_value() || listed) &&
                       (!node.input.has_value() || node.shared.has_value()) &&
                       (!node.vouched.has_value() || node.input.has_value()) &&
                       (!node.answered.has_value() || node.vouched.has_value());
    if (!chain) return Damaged("a node of the session snapshot skipped a stage");
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
    if (!covers) return Damaged("a node of the session snapshot shared with another cohort");
  }
  return absl::OkStatus();
}

void ReadNodes(WireReader& reader, ServerSession::State& state) {
  uint32_t count = 0;
  reader.Number(count);
  if (count > kMaxMembers) reader.Fail();
  for (uint32_t i = 0; i < count && reader.ok(); ++i) {
    NamedParticipant entry;
    uint8_t withdrawn = 0;
    kParticipantFields(reader, entry);
    reader.Number(withdrawn);
    entry.node.withdrawn = withdrawn != 0;
    state.nodes.emplace(std::move(entry.id), std::move(entry.node));
  }
}

absl::Status ReadAccumulator(WireReader& reader, ServerSession::State& state) {
  const uint64_t wanted = PackedBytes(CodecOf(state.config));
  const std::span<const uint8_t> bytes = reader.Get(wanted);
  if (!reader.ok()) return Damaged("the session snapshot's accumulator is cut off");
  state.accumulator.assign(bytes.begin(), bytes.end());
  for (auto& [id, node] : state.nodes) node.accumulated = node.input.has_value();
  return absl::OkStatus();
}

}  // namespace

std::vector<uint8_t> ServerSession::Snapshot(SnapshotKind kind) const {
  const State& state = *state_;
  const bool full = kind == SnapshotKind::kFull && !state.accumulator.empty();
  WireWriter writer;
  writer.Reserve(full ? state.accumulator.size() + 65536 : 65536);
  writer.Number(kSnapshotKind);
  writer.Number(kSnapshotVersion);
  writer.Number(static_cast<uint8_t>(StoredStage(state, kind)));
  writer.Number(state.reason.has_value() ? static_cast<uint8_t>(*state.reason) : uint8_t{0});
  Fields(writer, state.config);
  writer.Number(static_cast<uint32_t>(state.nodes.size()));
  for (const auto& [id, node] : state.nodes) {
    const NamedParticipant entry{id, node};
    kParticipantFields(writer, entry);
    writer.Number(static_cast<uint8_t>(node.withdrawn));
  }
  writer.Number(static_cast<uint8_t>(full));
  if (full) writer.Raw(state.accumulator);
  std::vector<uint8_t> snapshot = std::move(writer).Take();
  const Digest check = Sha256Of(snapshot);
  snapshot.insert(snapshot.end(), check.begin(), check.end());
  return snapshot;
}

absl::StatusOr<ServerSession> ServerSession::Restore(std::span<const uint8_t> snapshot,
                                                     const DeviceVerifier& verifier) {
  if (snapshot.size() < 32 ||
      !std::ranges::equal(Sha256Of(snapshot.first(snapshot.size() - 32)), snapshot.last(32))) {
    return Damaged(
        fmt::format("the {} bytes of the session snapshot are torn or changed", snapshot.size()));
  }
  auto state = std::make_unique<State>();
  WireReader reader(snapshot.first(snapshot.size() - 32));
  uint8_t kind = 0;
  uint8_t version = 0;
  uint8_t reason = 0;
  reader.Number(kind);
  reader.Number(version);
  reader.Enum(state->stage, 1, 7);
  reader.Number(reason);
  if (!reader.ok() || kind != kSnapshotKind || version != kSnapshotVersion) {
    return Damaged(
        fmt::format("kind {} version {} is no session snapshot of this program", kind, version));
  }
  Fields(reader, state->config);
  ReadNodes(reader, *state);
  uint8_t full = 0;
  reader.Number(full);
  if (!reader.ok()) return Damaged("the session snapshot has a field out of range");
  CHOIR_RETURN_IF_ERROR(ValidateConfig(state->config));
  CHOIR_RETURN_IF_ERROR(CheckConsistent(*state));
  if (reason != 0) state->reason = AbortReasonFromNumber(reason);
  if (full != 0) {
    CHOIR_RETURN_IF_ERROR(ReadAccumulator(reader, *state));
  } else if (!state->over() && state->stage >= ServerStage::kMasking) {
    state->accumulator.assign(PackedBytes(CodecOf(state->config)), 0);
  }
  if (!reader.AtEnd()) return Damaged("the session snapshot is longer than it should be");
  state->verifier = &verifier;
  state->ComputeTranscript();
  CHOIR_RETURN_IF_ERROR(CheckShares(*state));
  if (state->stage == ServerStage::kDone) CHOIR_RETURN_IF_ERROR(state->ReadSum());
  return ServerSession(std::move(state));
}

}  // namespace choir::secagg
