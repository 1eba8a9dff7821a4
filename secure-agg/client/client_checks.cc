#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "secure-agg/client/client_state.h"
#include "secure-agg/client/regular_checks.h"
#include "secure-agg/core/membership.h"
#include "secure-agg/core/seeded_bug.h"
#include "secure-agg/core/transcript.h"

namespace choir::secagg {
namespace {

std::vector<NodeId> IdsOf(const KeyList& list) {
  std::vector<NodeId> ids;
  for (const KeyListEntry& entry : list.entries) ids.push_back(entry.keys.node_id);
  return ids;
}

std::vector<NodeId> IdsOf(std::span<const Survivor> survivors) {
  std::vector<NodeId> ids;
  for (const Survivor& survivor : survivors) ids.push_back(survivor.node_id);
  return ids;
}

absl::Status CheckOwnEntry(const ClientSession::State& state, const KeyList& list) {
  const std::optional<uint32_t> own = IndexOf(list, state.self);
  if (!own.has_value()) {
    return Refusal(
        AbortReason::kOwnEntryMissing,
        fmt::format("this node is not among the {} of the key list", list.entries.size()));
  }
  const KeyListEntry& entry = list.entries[*own];
  if (CHOIR_SEEDED_BUG(13)) return absl::OkStatus();
  if (Encode(entry.keys) != state.message || entry.device_key != state.signer->public_key()) {
    return Refusal(AbortReason::kOwnEntryChanged,
                   "this node's entry of the key list is not what it sent");
  }
  return absl::OkStatus();
}

absl::Status CheckCertified(const ClientSession::State& state, const KeyList& list) {
  for (const KeyListEntry& entry : list.entries) {
    const absl::Status certified =
        state.verifier->Verify(entry.keys.node_id, entry.device_key, entry.credential);
    if (!certified.ok() && !CHOIR_SEEDED_BUG(25)) {
      return Refusal(
          AbortReason::kForeignKey,
          fmt::format("a device of the key list is not certified: {}", certified.ToString()));
    }
    if (entry.keys.session_id != state.config.session_id) {
      return Refusal(AbortReason::kBadSignature, "an entry of the key list is of another session");
    }
  }
  return absl::OkStatus();
}

// survivors and dropped split U2 in two.
absl::Status CheckPartition(const ClientSession::State& state, const SurvivorList& list) {
  const std::vector<NodeId> survivors = IdsOf(list.survivors);
  CHOIR_RETURN_IF_ERROR(CheckAscending(survivors, "survivor list"));
  CHOIR_RETURN_IF_ERROR(CheckAscending(list.dropped, "list of dropped nodes"));
  std::set<NodeId> all(survivors.begin(), survivors.end());
  for (const NodeId& id : list.dropped) {
    if (!all.insert(id).second && !CHOIR_SEEDED_BUG(1)) {
      return Refusal(AbortReason::kBothSharesRequested,
                     "a node is both a survivor and dropped: both its secrets would be opened");
    }
  }
  std::set<NodeId> members;
  for (const uint32_t member : state.members) members.insert(state.IdOf(member));
  if (all != members) {
    return Refusal(AbortReason::kSurvivorsNotSubset,
                   fmt::format("{} survivors and {} dropped nodes are not the {} shareholders",
                               survivors.size(), list.dropped.size(), members.size()));
  }
  return absl::OkStatus();
}

absl::Status CheckCompleteKeyList(const ClientSession::State& state, const KeyList& list) {
  CHOIR_RETURN_IF_ERROR(CheckCohortSize(state, list.entries.size()));
  return CheckEntries(state, list);
}

absl::Status CheckCompleteDelivery(const ClientSession::State& state,
                                   const ShareDelivery& delivery) {
  CHOIR_RETURN_IF_ERROR(IndicesOf(state.list, delivery.members, "shareholders").status());
  if (std::ranges::find(delivery.members, state.self) == delivery.members.end()) {
    return LeftOutOfShares();
  }
  if (delivery.members.size() < state.needed()) {
    return Refusal(AbortReason::kTooFewShareholders,
                   fmt::format("{} of {} nodes shared, {} are needed", delivery.members.size(),
                               state.list.entries.size(), state.needed()));
  }
  return CheckSharesCover(state, delivery.members, delivery.shares);
}

absl::Status CheckCompleteSurvivors(const ClientSession::State& state, const SurvivorList& list) {
  CHOIR_RETURN_IF_ERROR(CheckPartition(state, list));
  const auto own = std::ranges::find(list.survivors, state.self, &Survivor::node_id);
  if (own == list.survivors.end()) {
    return CHOIR_SEEDED_BUG(15) ? absl::OkStatus() : LeftOutOfSum(state);
  }
  if (own->input_hash != state.input_hash && !CHOIR_SEEDED_BUG(14)) {
    return Refusal(AbortReason::kWrongInputHash,
                   fmt::format("the survivor list has {} for this node's input {}",
                               DigestToHex(own->input_hash), DigestToHex(state.input_hash)));
  }
  if (list.survivors.size() < state.needed()) {
    return Refusal(
        AbortReason::kTooFewSurvivors,
        fmt::format("{} inputs arrived, {} are needed", list.survivors.size(), state.needed()));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckCohortSize(const ClientSession::State& state, size_t size) {
  if (size < state.min_cohort && !CHOIR_SEEDED_BUG(17)) {
    return Refusal(
        AbortReason::kCohortBelowMinimum,
        fmt::format("the cohort has {} nodes, at least {} are needed", size, state.min_cohort));
  }
  if (size > state.config.max_cohort) {
    return Refusal(AbortReason::kCohortAboveMaximum,
                   fmt::format("the cohort has {} nodes, the sum has room for {}", size,
                               state.config.max_cohort));
  }
  return absl::OkStatus();
}

absl::Status CheckEntries(const ClientSession::State& state, const KeyList& list) {
  CHOIR_RETURN_IF_ERROR(CheckAscending(IdsOf(list), "key list"));
  CHOIR_RETURN_IF_ERROR(CheckOwnEntry(state, list));
  CHOIR_RETURN_IF_ERROR(CheckCertified(state, list));
  CHOIR_RETURN_IF_ERROR(CheckDistinct(list.entries));
  for (const KeyListEntry& entry : list.entries) {
    CHOIR_RETURN_IF_ERROR(CheckEntry(state.h0, entry));
  }
  return absl::OkStatus();
}

absl::Status CheckSharesCover(const ClientSession::State& state, std::span<const NodeId> sharers,
                              std::span<const SealedShare> shares) {
  size_t next = 0;
  size_t expected = 0;
  for (const NodeId& sharer : sharers) {
    if (sharer == state.self) continue;
    ++expected;
    if (next < shares.size() && shares[next].node_id == sharer) ++next;
  }
  if (next == expected && next == shares.size()) return absl::OkStatus();
  return Refusal(AbortReason::kUnknownMember,
                 fmt::format("{} sealed shares are not one of each of the other {} shareholders",
                             shares.size(), expected));
}

absl::Status LeftOutOfShares() {
  return Refusal(AbortReason::kLeftOut, "this node's shares came too late; the cohort goes on");
}

absl::Status LeftOutOfSum(const ClientSession::State& state) {
  return state.uploaded ? Refusal(AbortReason::kDeclaredDropped,
                                  "this node's input was acknowledged, and is now called dropped")
                        : Refusal(AbortReason::kLeftOut, "this node's input came too late");
}

absl::Status CheckKeyList(const ClientSession::State& state, const AnyKeyList& list) {
  if (const auto* all = std::get_if<KeyList>(&list)) return CheckCompleteKeyList(state, *all);
  return CheckRegularKeyList(state, std::get<NeighbourList>(list));
}

absl::Status CheckDelivery(const ClientSession::State& state, const AnyDelivery& delivery) {
  if (const auto* all = std::get_if<ShareDelivery>(&delivery)) {
    return CheckCompleteDelivery(state, *all);
  }
  return CheckRegularDelivery(state, std::get<NeighbourDelivery>(delivery));
}

absl::Status CheckSurvivors(const ClientSession::State& state, const AnySurvivors& list) {
  if (const auto* all = std::get_if<SurvivorList>(&list))
    return CheckCompleteSurvivors(state, *all);
  return CheckRegularSurvivors(state, std::get<NeighbourSurvivors>(list));
}

absl::Status CheckSignatures(const ClientSession::State& state, const SurvivorSignatures& message) {
  if (message.h3 != *state.h3 && !CHOIR_SEEDED_BUG(3)) {
    return Refusal(AbortReason::kTwoSurvivorLists,
                   "the others signed another survivor list than this node");
  }
  if (message.signatures.size() < state.graph.threshold()) {
    return Refusal(AbortReason::kTooFewSignatures,
                   fmt::format("{} nodes vouch for the survivor list, {} are needed",
                               message.signatures.size(), state.graph.threshold()));
  }
  const std::vector<uint8_t> signed_bytes =
      ConsistencySigningBytes(state.h0, state.h1, state.h2, *state.h3);
  const bool own_counts = state.graph.shape().complete();
  const NodeId* before = nullptr;
  for (const NodeSignature& entry : message.signatures) {
    if (before != nullptr && *before >= entry.node_id && !CHOIR_SEEDED_BUG(21)) {
      return Refusal(AbortReason::kRepeatedNode, "the signatures are not in order of their nodes");
    }
    before = &entry.node_id;
    const std::optional<uint32_t> index = IndexOf(state.list, entry.node_id);
    if (!index.has_value() || !std::ranges::binary_search(state.survivors, *index) ||
        (*index == state.index && !own_counts)) {
      return Refusal(AbortReason::kUnknownMember, "a signature is by a node that did not survive");
    }
    if (!VerifySignature(state.list.entries[*index].device_key, signed_bytes, entry.signature)) {
      return Refusal(AbortReason::kBadSignature,
                     "a signature under the survivor list does not verify");
    }
  }
  return absl::OkStatus();
}

}  // namespace choir::secagg
