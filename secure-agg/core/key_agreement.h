#ifndef CHOIR_SECURE_AGG_CORE_KEY_AGREEMENT_H_
#define CHOIR_SECURE_AGG_CORE_KEY_AGREEMENT_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/secret.h"
#include "base/sha256.h"
#include "secure-agg/core/messages.h"

namespace choir::secagg {

// X25519 (RFC 7748). The secret is used as it is; X25519 clamps it.
struct KeyPair {
  SecretBytes<32> secret;
  PublicKey public_key{};
};
KeyPair MakeKeyPair(SecretBytes<32> secret);

// OK unless the point has a second spelling (bit 255 set, or u >= 2^255 - 19) or low order, so that
// two keys which differ in their bytes differ as points. kLowOrderKey.
absl::Status CheckPublicKey(const PublicKey& key);

// The shared point. kLowOrderKey if it is zero.
absl::StatusOr<SecretBytes<32>> Agree(const SecretBytes<32>& secret, const PublicKey& peer);

// What a mask is drawn from, for both ends of a pair alike.
struct MaskShape {
  Prg prg = Prg::kChaCha20;
  uint32_t word_bits = 32;
  uint64_t num_words = 0;
};

// HKDF(X25519(own, peer), salt = SHA-256(H0||H1), "choir/pair" || both mask keys, the lower index's
// first || prg || b || m). The salt covers the adapter: nodes with different adapters share no
// mask.
absl::StatusOr<SecretBytes<32>> PairMaskKey(const KeyPair& own, const PublicKey& peer,
                                            bool own_first, const Digest& salt,
                                            const MaskShape& shape);
// HKDF(b, salt, "choir/self" || prg || b || m).
SecretBytes<32> SelfMaskKey(const SecretBytes<32>& b, const Digest& salt, const MaskShape& shape);

// The key that seals what `from` sends to `to`; each direction has its own, used for one message.
absl::StatusOr<SecretBytes<32>> SealKey(const KeyPair& own, const PublicKey& peer, bool own_sends,
                                        const Digest& salt);

// The X25519 secret that belongs to a scalar s (scalars are what is shared), bound to the session.
SecretBytes<32> MaskSecretOf(const SecretBytes<32>& s, const Digest& h0);
// What a node publishes of b: HKDF(b, H0, label); tells nothing, and shows a wrong reconstruction.
Digest CommitSelfMask(const SecretBytes<32>& b, const Digest& h0);

}  // namespace choir::secagg

#endif  // CHOIR_SECURE_AGG_CORE_KEY_AGREEMENT_H_
