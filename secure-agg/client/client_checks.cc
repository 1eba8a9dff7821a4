#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "secure-agg/client/client_state.h"
#include "secure-agg/core/membership.h"
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
    if (!certified.ok()) {
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

// Every member but this node, in order: so each has sealed exactly one pair of shares.
bool SharesCoverMembers(const ClientSession::State& state, const ShareDelivery& delivery) {
  size_t next = 0;
  for (const NodeId& member : delivery.members) {
    if (member == state.self) continue;
    if (next == delivery.shares.size() || delivery.shares[next].node_id != member) return false;
    ++next;
  }
  return next == delivery.shares.size();
}

// survivors and dropped split U2 in two.
absl::Status CheckPartition(const ClientSession::State& state, const SurvivorList& list) {
  const std::vector<NodeId> survivors = IdsOf(list.survivors);
  CHOIR_RETURN_IF_ERROR(CheckAscending(survivors, "survivor list"));
  CHOIR_RETURN_IF_ERROR(CheckAscending(list.dropped, "list of dropped nodes"));
  std::set<NodeId> all(survivors.begin(), survivors.end());
  for (const NodeId& id : list.dropped) {
    if (!all.insert(id).second) {
      return Refusal(AbortReason::kBothSharesRequested,
                     "a node is both a survivor and dropped: both its secrets would be opened");
    }
  }
  std::set<NodeId> members;
  for (const uint32_t member : state.members) {
    members.insert(state.list.entries[member].keys.node_id);
  }
  if (all != members) {
    return Refusal(AbortReason::kSurvivorsNotSubset,
                   fmt::format("{} survivors and {} dropped nodes are not the {} shareholders",
                               survivors.size(), list.dropped.size(), members.size()));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckKeyList(const ClientSession::State& state, const KeyList& list) {
  const size_t n = list.entries.size();
  if (n < state.min_cohort) {
    return Refusal(
        AbortReason::kCohortBelowMinimum,
        fmt::format("the cohort has {} nodes, at least {} are needed", n, state.min_cohort));
  }
  if (n > state.config.max_cohort) {
    return Refusal(AbortReason::kCohortAboveMaximum,
                   fmt::format("the cohort has {} nodes, the sum has room for {}", n,
                               state.config.max_cohort));
  }
  CHOIR_RETURN_IF_ERROR(CheckAscending(IdsOf(list), "key list"));
  CHOIR_RETURN_IF_ERROR(CheckOwnEntry(state, list));
  CHOIR_RETURN_IF_ERROR(CheckCertified(state, list));
  CHOIR_RETURN_IF_ERROR(CheckDistinct(list.entries));
  for (const KeyListEntry& entry : list.entries) {
    CHOIR_RETURN_IF_ERROR(CheckEntry(state.h0, entry));
  }
  return absl::OkStatus();
}

absl::Status CheckDelivery(const ClientSession::State& state, const ShareDelivery& delivery) {
  CHOIR_RETURN_IF_ERROR(IndicesOf(state.list, delivery.members, "shareholders").status());
  if (std::ranges::find(delivery.members, state.self) == delivery.members.end()) {
    return Refusal(AbortReason::kLeftOut, "this node's shares came too late; the cohort goes on");
  }
  if (delivery.members.size() < state.needed()) {
    return Refusal(AbortReason::kTooFewShareholders,
                   fmt::format("{} of {} nodes shared, {} are needed", delivery.members.size(),
                               state.list.entries.size(), state.needed()));
  }
  if (!SharesCoverMembers(state, delivery)) {
    return Refusal(AbortReason::kUnknownMember,
                   fmt::format("{} sealed shares are not one of each of the other {} shareholders",
                               delivery.shares.size(), delivery.members.size() - 1));
  }
  return absl::OkStatus();
}

absl::Status CheckSurvivors(const ClientSession::State& state, const SurvivorList& list) {
  CHOIR_RETURN_IF_ERROR(CheckPartition(state, list));
  const auto own = std::ranges::find(list.survivors, state.self, &Survivor::node_id);
  if (own == list.survivors.end()) {
    return state.uploaded ? Refusal(AbortReason::kDeclaredDropped,
                                    "this node's input was acknowledged, and is now called dropped")
                          : Refusal(AbortReason::kLeftOut, "this node's input came too late");
  }
  if (own->input_hash != state.input_hash) {
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

absl::Status CheckSignatures(const ClientSession::State& state, const SurvivorSignatures& message) {
  if (message.h3 != *state.h3) {
    return Refusal(AbortReason::kTwoSurvivorLists,
                   "the others signed another survivor list than this node");
  }
  if (message.signatures.size() < state.graph().Threshold()) {
    return Refusal(AbortReason::kTooFewSignatures,
                   fmt::format("{} nodes vouch for the survivor list, {} are needed",
                               message.signatures.size(), state.graph().Threshold()));
  }
  const std::vector<uint8_t> signed_bytes =
      ConsistencySigningBytes(state.h0, state.h1, state.h2, *state.h3);
  const NodeId* before = nullptr;
  for (const NodeSignature& entry : message.signatures) {
    if (before != nullptr && *before >= entry.node_id) {
      return Refusal(AbortReason::kRepeatedNode, "the signatures are not in order of their nodes");
    }
    before = &entry.node_id;
    const auto survivor = std::ranges::find(state.survivors, entry.node_id, &Survivor::node_id);
    const std::optional<uint32_t> index = IndexOf(state.list, entry.node_id);
    if (survivor == state.survivors.end() || !index.has_value()) {
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
