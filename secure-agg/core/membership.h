#ifndef CHOIR_SECURE_AGG_CORE_MEMBERSHIP_H_
#define CHOIR_SECURE_AGG_CORE_MEMBERSHIP_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/sha256.h"
#include "secure-agg/core/messages.h"

// What both sides ask of a cohort: that lists are in order, keys distinct, entries signed.
namespace choir::secagg {

// Strictly ascending, so nobody is there twice. kRepeatedNode; `what` names the list.
absl::Status CheckAscending(std::span<const NodeId> ids, std::string_view what);

// A node's place in a key list whose entries are in order.
std::optional<uint32_t> IndexOf(const KeyList& list, const NodeId& id);

// The places of `ids`, which must be in order. kRepeatedNode, kUnknownMember.
absl::StatusOr<std::vector<uint32_t>> IndicesOf(const KeyList& list, std::span<const NodeId> ids,
                                                std::string_view what);

// One entry by itself: keys in canonical form and of high order, signed by its device key.
// kLowOrderKey, kBadSignature.
absl::Status CheckEntry(const Digest& h0, const KeyListEntry& entry);

// All keys, commitments and nonces of the cohort, device keys among them, are distinct.
// kRepeatedKey.
absl::Status CheckDistinct(std::span<const KeyListEntry> entries);

// A set of places in a cohort, as a regular graph's messages carry it: a bit each, lowest first,
// and zeros to the end of the last byte. UnpackPlaces() gives nothing for any other length or
// padding.
std::vector<uint8_t> PackPlaces(const std::vector<bool>& set);
std::optional<std::vector<bool>> UnpackPlaces(std::span<const uint8_t> bits, uint32_t size);

}  // namespace choir::secagg

#endif  // CHOIR_SECURE_AGG_CORE_MEMBERSHIP_H_
