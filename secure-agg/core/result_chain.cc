#include "secure-agg/core/result_chain.h"

#include <fmt/format.h>

#include "base/status_macros.h"
#include "secure-agg/core/abort_reason.h"
#include "secure-agg/core/transcript.h"

namespace choir::secagg {

Digest ResultHash(const RoundResult& result) {
  return Sha256Of(Encode(result));
}

absl::Status SignResult(const std::optional<ChainHead>& head, const Signer& coordinator,
                        RoundResult& result) {
  result.sequence = head.has_value() ? head->sequence + 1 : 0;
  result.previous_hash = head.has_value() ? head->hash : Digest{};
  CHOIR_ASSIGN_OR_RETURN(result.signature, coordinator.Sign(ResultSigningBytes(result)));
  return absl::OkStatus();
}

absl::StatusOr<ChainHead> FollowChain(const std::optional<ChainHead>& head,
                                      const PublicKey& coordinator_key, const RoundResult& result) {
  if (!VerifySignature(coordinator_key, ResultSigningBytes(result), result.signature)) {
    return Refusal(
        AbortReason::kBadResultSignature,
        fmt::format("result {} is not signed by this federation's coordinator", result.sequence));
  }
  if (result.sequence == 0 && result.previous_hash != Digest{}) {
    return Refusal(AbortReason::kChainBroken, "the first result names one before it");
  }
  if (head.has_value() &&
      (result.sequence != head->sequence + 1 || result.previous_hash != head->hash)) {
    return Refusal(
        AbortReason::kChainBroken,
        fmt::format("result {} (after {}) does not follow result {} ({})", result.sequence,
                    DigestToHex(result.previous_hash), head->sequence, DigestToHex(head->hash)));
  }
  return ChainHead{result.sequence, ResultHash(result)};
}

}  // namespace choir::secagg
