#ifndef CHOIR_SECURE_AGG_CORE_RESULT_CHAIN_H_
#define CHOIR_SECURE_AGG_CORE_RESULT_CHAIN_H_

#include <cstdint>
#include <optional>

#include "absl/status/status.h"

#include "base/sha256.h"
#include "secure-agg/core/messages.h"
#include "secure-agg/core/signing.h"

namespace choir::secagg {

// The last entry that somebody holds of the coordinator's append-only chain of round results.
struct ChainHead {
  uint64_t sequence = 0;
  Digest hash{};
};

// The entry's name: what the next entry's previous_hash must be. Covers the signature.
Digest ResultHash(const RoundResult& result);

// Fills in sequence, previous_hash and signature, so that `result` follows `head`.
absl::Status SignResult(const std::optional<ChainHead>& head, const Signer& coordinator,
                        RoundResult& result);

// The new head. Somebody without a head takes any signed entry as the first one known (an entry of
// sequence 0 must have a zero previous_hash); from then on each must continue it without a gap.
// kBadResultSignature, kChainBroken.
absl::StatusOr<ChainHead> FollowChain(const std::optional<ChainHead>& head,
                                      const PublicKey& coordinator_key, const RoundResult& result);

}  // namespace choir::secagg

#endif  // CHOIR_SECURE_AGG_CORE_RESULT_CHAIN_H_
