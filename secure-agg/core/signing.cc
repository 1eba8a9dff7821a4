#include "secure-agg/core/signing.h"

#include <sodium.h>

#include "base/check.h"

namespace choir::secagg {

Ed25519Signer::Ed25519Signer(const SecretBytes<32>& seed) {
  CHOIR_CHECK(crypto_sign_seed_keypair(public_key_.data(), secret_key_.ExposeMutable().data(),
                                       seed.Expose().data()) == 0);
}

absl::StatusOr<Signature> Ed25519Signer::Sign(std::span<const uint8_t> message) const {
  Signature signature{};
  CHOIR_CHECK(crypto_sign_detached(signature.data(), nullptr, message.data(), message.size(),
                                   secret_key_.Expose().data()) == 0);
  return signature;
}

bool VerifySignature(const PublicKey& key, std::span<const uint8_t> message,
                     const Signature& signature) {
  return crypto_sign_verify_detached(signature.data(), message.data(), message.size(),
                                     key.data()) == 0;
}

}  // namespace choir::secagg
