#ifndef CHOIR_SECURE_AGG_CORE_SIGNING_H_
#define CHOIR_SECURE_AGG_CORE_SIGNING_H_

#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/secret.h"
#include "secure-agg/core/messages.h"

namespace choir::secagg {

// Holds an Ed25519 key (RFC 8032): a device's or the coordinator's. Implemented where keys live.
class Signer {
 public:
  virtual ~Signer() = default;
  [[nodiscard]] virtual PublicKey public_key() const = 0;
  // Deterministic: the same message gives the same signature, also after a restart.
  [[nodiscard]] virtual absl::StatusOr<Signature> Sign(std::span<const uint8_t> message) const = 0;
};

// Says whether the federation's authority certified a device. Implemented in proto/trust.
class DeviceVerifier {
 public:
  virtual ~DeviceVerifier() = default;
  // OK if `credential` certifies that `device_key` is the key of `node_id`, today.
  [[nodiscard]] virtual absl::Status Verify(const NodeId& node_id, const PublicKey& device_key,
                                            std::span<const uint8_t> credential) const = 0;
};

// A key in memory, from its 32-byte seed.
class Ed25519Signer final : public Signer {
 public:
  explicit Ed25519Signer(const SecretBytes<32>& seed);
  [[nodiscard]] PublicKey public_key() const override { return public_key_; }
  [[nodiscard]] absl::StatusOr<Signature> Sign(std::span<const uint8_t> message) const override;

 private:
  PublicKey public_key_{};
  SecretBytes<64> secret_key_;
};

// RFC 8032 verification; small-order keys and non-canonical signatures are refused (libsodium).
bool VerifySignature(const PublicKey& key, std::span<const uint8_t> message,
                     const Signature& signature);

}  // namespace choir::secagg

#endif  // CHOIR_SECURE_AGG_CORE_SIGNING_H_
