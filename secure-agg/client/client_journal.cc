#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "secure-agg/client/client_state.h"
#include "secure-agg/core/message_fields.h"
#include "secure-agg/core/transcript.h"
#include "secure-agg/core/wire.h"

// The journal: kind and version, the fields, and a SHA-256 of all before it, against a torn write.
namespace choir::secagg {
namespace {

constexpr uint8_t kJournalKind = 100;
constexpr uint8_t kJournalVersion = 1;
constexpr uint32_t kMaxStoredMessage = 16u << 20;

absl::Status Damaged(std::string_view detail) {
  return Refusal(AbortReason::kDamagedJournal, detail);
}

// One description for writing and reading. `flags`: spent, uploaded, h3 is set.
template <typename A, typename S>
void JournalFields(A& a, S& state, auto& reason, auto& flags, auto& h3) {
  a.Enum(state.stage, 1, 8);
  a.Number(reason);
  a.Number(flags);
  a.Text(state.self, 1, kMaxIdBytes);
  a.Number(state.min_cohort);
  Fields(a, state.config);
  a.Blob(state.key_list_bytes, kMaxStoredMessage);
  a.Blob(state.delivery_bytes, kMaxStoredMessage);
  a.Fixed(state.input_hash);
  a.Blob(state.survivors_bytes, kMaxStoredMessage);
  a.Fixed(state.survivors_digest);
  a.Fixed(h3);
  a.Fixed(state.request_digest);
  a.Blob(state.message, kMaxStoredMessage);
}

// Computes again what the accepted messages gave, in their order. Signatures, certificates and the
// policy are not judged again: the owner's rules or the clock may have changed, the session has
// not.
absl::Status Rebuild(ClientSession::State& state) {
  state.h0 = HashConfig(state.config);
  if (state.over()) return absl::OkStatus();
  state.keys = DeriveKeys(state.seed, state.h0);
  if (state.stage >= ClientStage::kShared) {
    CHOIR_ASSIGN_OR_RETURN(AnyKeyList list, DecodeKeys(state.config.graph, state.key_list_bytes));
    CHOIR_RETURN_IF_ERROR(state.AdoptKeyList(std::move(list)));
  }
  if (state.stage >= ClientStage::kReady) {
    CHOIR_ASSIGN_OR_RETURN(const AnyDelivery delivery,
                           DecodeDelivery(state.config.graph, state.delivery_bytes));
    CHOIR_RETURN_IF_ERROR(CheckDelivery(state, delivery));
    CHOIR_RETURN_IF_ERROR(state.AdoptDelivery(delivery));
  }
  if (state.stage >= ClientStage::kSigned) {
    CHOIR_ASSIGN_OR_RETURN(const AnySurvivors survivors,
                           DecodeSurvivors(state.config.graph, state.survivors_bytes));
    CHOIR_RETURN_IF_ERROR(CheckSurvivors(state, survivors));
    CHOIR_RETURN_IF_ERROR(state.AdoptSurvivors(survivors));
  }
  return absl::OkStatus();
}

}  // namespace

SecretBuffer ClientSession::Snapshot() const {
  const State& state = *state_;
  WireWriter writer;
  // The variable parts, and 2 KiB for all the others, which are smaller.
  writer.Reserve(state.key_list_bytes.size() + state.delivery_bytes.size() +
                 state.survivors_bytes.size() + state.message.size() + 2048);
  writer.Number(kJournalKind);
  writer.Number(kJournalVersion);
  const uint8_t reason = state.reason.has_value() ? static_cast<uint8_t>(*state.reason) : 0;
  const auto flags = static_cast<uint8_t>((state.spent ? 1 : 0) | (state.uploaded ? 2 : 0) |
                                          (state.h3.has_value() ? 4 : 0));
  const Digest h3 = state.h3.value_or(Digest{});
  JournalFields(writer, state, reason, flags, h3);
  writer.Raw(state.seed.Expose());
  std::vector<uint8_t> journal = std::move(writer).Take();
  const Digest check = Sha256Of(journal);
  journal.insert(journal.end(), check.begin(), check.end());
  return SecretBuffer(std::move(journal));
}

absl::StatusOr<ClientSession> ClientSession::Restore(std::span<const uint8_t> journal,
                                                     const Signer& signer,
                                                     const DeviceVerifier& verifier) {
  if (journal.size() < 32 ||
      !std::ranges::equal(Sha256Of(journal.first(journal.size() - 32)), journal.last(32))) {
    return Damaged(
        fmt::format("the {} bytes of the session journal are torn or changed", journal.size()));
  }
  auto state = std::make_unique<State>();
  WireReader reader(journal.first(journal.size() - 32));
  uint8_t kind = 0;
  uint8_t version = 0;
  uint8_t reason = 0;
  uint8_t flags = 0;
  Digest h3{};
  reader.Number(kind);
  reader.Number(version);
  if (kind != kJournalKind || version != kJournalVersion) {
    return Damaged(
        fmt::format("kind {} version {} is no session journal of this program", kind, version));
  }
  JournalFields(reader, *state, reason, flags, h3);
  const std::span<const uint8_t> seed = reader.Get(32);
  if (!reader.AtEnd() || (reason != 0 && !AbortReasonFromNumber(reason).has_value())) {
    return Damaged("the session journal has a field out of range");
  }
  std::ranges::copy(seed, state->seed.ExposeMutable().begin());
  if (reason != 0) state->reason = AbortReasonFromNumber(reason);
  state->spent = (flags & 1) != 0;
  state->uploaded = (flags & 2) != 0;
  if ((flags & 4) != 0) state->h3 = h3;
  state->signer = &signer;
  state->verifier = &verifier;
  if (absl::Status rebuilt = Rebuild(*state); !rebuilt.ok()) return Damaged(rebuilt.ToString());
  return ClientSession(std::move(state));
}

}  // namespace choir::secagg
