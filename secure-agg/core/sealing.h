#ifndef CHOIR_SECURE_AGG_CORE_SEALING_H_
#define CHOIR_SECURE_AGG_CORE_SEALING_H_

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"

#include "base/secret.h"
#include "base/sha256.h"
#include "secure-agg/core/messages.h"

namespace choir::secagg {

// One node's shares of another's two secrets.
struct SharePair {
  SecretBytes<32> mask_key;   // of s
  SecretBytes<32> self_mask;  // of b
};

// H0 || H1 || from || to, each id with its length.
std::vector<uint8_t> SealContext(const Digest& h0, const Digest& h1, const NodeId& from,
                                 const NodeId& to);

// XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03): ciphertext, then a tag of 16 bytes.
using SealNonce = std::array<uint8_t, 24>;
std::vector<uint8_t> Seal(const SecretBytes<32>& key, const SealNonce& nonce,
                          std::span<const uint8_t> plain, std::span<const uint8_t> context);

// The same with a zero nonce: `key` seals one message only.
std::array<uint8_t, kSealedSharesBytes> SealShares(const SecretBytes<32>& key,
                                                   const SharePair& shares,
                                                   std::span<const uint8_t> context);
// kBadShare if the tag is wrong or a share is no canonical scalar.
absl::StatusOr<SharePair> OpenShares(const SecretBytes<32>& key,
                                     std::span<const uint8_t, kSealedSharesBytes> sealed,
                                     std::span<const uint8_t> context);

}  // namespace choir::secagg

#endif  // CHOIR_SECURE_AGG_CORE_SEALING_H_
