#include "secure-agg/core/membership.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "base/file.h"
#include "base/hex.h"
#include "base/status_macros.h"
#include "secure-agg/core/abort_reason.h"
#include "secure-agg/core/key_agreement.h"
#include "secure-agg/core/seeded_bug.h"
#include "secure-agg/core/signing.h"
#include "secure-agg/core/transcript.h"

namespace choir::secagg {

absl::Status CheckAscending(std::span<const NodeId> ids, std::string_view what) {
  for (size_t i = 1; i < ids.size(); ++i) {
    if (ids[i - 1] >= ids[i]) {
      return Refusal(AbortReason::kRepeatedNode,
                     fmt::format("entry {} of the {} is not above the one before", i, what));
    }
  }
  return absl::OkStatus();
}

std::optional<uint32_t> IndexOf(const KeyList& list, const NodeId& id) {
  const auto found = std::lower_bound(
      list.entries.begin(), list.entries.end(), id,
      [](const KeyListEntry& entry, const NodeId& wanted) { return entry.keys.node_id < wanted; });
  if (found == list.entries.end() || found->keys.node_id != id) return std::nullopt;
  return static_cast<uint32_t>(found - list.entries.begin());
}

absl::StatusOr<std::vector<uint32_t>> IndicesOf(const KeyList& list, std::span<const NodeId> ids,
                                                std::string_view what) {
  CHOIR_RETURN_IF_ERROR(CheckAscending(ids, what));
  std::vector<uint32_t> indices;
  indices.reserve(ids.size());
  for (const NodeId& id : ids) {
    const std::optional<uint32_t> index = IndexOf(list, id);
    if (!index.has_value()) {
      return Refusal(
          AbortReason::kUnknownMember,
          fmt::format("entry {} of the {} is not in the key list", indices.size(), what));
    }
    indices.push_back(*index);
  }
  return indices;
}

absl::Status CheckEntry(const Digest& h0, const KeyListEntry& entry) {
  CHOIR_RETURN_IF_ERROR(CheckPublicKey(entry.keys.share_key));
  CHOIR_RETURN_IF_ERROR(CheckPublicKey(entry.keys.mask_key));
  if (!CHOIR_SEEDED_BUG(7) &&
      !VerifySignature(entry.device_key, AdvertiseSigningBytes(h0, entry.keys),
                       entry.keys.signature)) {
    return Refusal(AbortReason::kBadSignature,
                   fmt::format("the keys of {} are not signed by its device",
                               HexEncode(AsBytes(entry.keys.node_id))));
  }
  return absl::OkStatus();
}

absl::Status CheckDistinct(std::span<const KeyListEntry> entries) {
  std::set<std::array<uint8_t, 32>> seen;
  for (size_t i = 0; i < entries.size(); ++i) {
    const AdvertiseKeys& keys = entries[i].keys;
    for (const auto& value : {keys.share_key, keys.mask_key, entries[i].device_key,
                              keys.self_mask_commitment, keys.nonce}) {
      if (!seen.insert(value).second && !CHOIR_SEEDED_BUG(8)) {
        return Refusal(
            AbortReason::kRepeatedKey,
            fmt::format("entry {} of the key list repeats a key, commitment or nonce", i));
      }
    }
  }
  return absl::OkStatus();
}

std::vector<uint8_t> PackPlaces(const std::vector<bool>& set) {
  std::vector<uint8_t> bits((set.size() + 7) / 8);
  for (size_t i = 0; i < set.size(); ++i) {
    if (set[i]) bits[i / 8] = static_cast<uint8_t>(bits[i / 8] | 1u << (i % 8));
  }
  return bits;
}

std::optional<std::vector<bool>> UnpackPlaces(std::span<const uint8_t> bits, uint32_t size) {
  if (bits.size() != (size_t{size} + 7) / 8) return std::nullopt;
  if (size % 8 != 0 && bits.back() >> (size % 8) != 0) return std::nullopt;
  std::vector<bool> set(size);
  for (uint32_t i = 0; i < size; ++i) set[i] = (bits[i / 8] >> (i % 8) & 1) != 0;
  return set;
}

}  // namespace choir::secagg
