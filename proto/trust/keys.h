#ifndef CHOIR_PROTO_TRUST_KEYS_H_
#define CHOIR_PROTO_TRUST_KEYS_H_

// Ed25519 keys (RFC 8032): of the authority, the coordinator, enrolment and devices.

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

#include "base/random.h"
#include "base/secret.h"

namespace choir::trust {

using PublicKey = std::array<uint8_t, 32>;
using Signature = std::array<uint8_t, 64>;

// A key that signs. Wiped on destruction; movable, never copied. Immutable, so thread-safe.
class SigningKey {
 public:
  static SigningKey Generate(RandomSource& random);
  static SigningKey FromSeed(std::span<const uint8_t, 32> seed);

  // Signs domain || 0x00 || bytes, so that a signature made for one purpose serves no other.
  [[nodiscard]] Signature Sign(std::string_view domain, std::span<const uint8_t> bytes) const;
  // Signs the bytes alone (secure-agg brings its own domain separation).
  [[nodiscard]] Signature SignRaw(std::span<const uint8_t> bytes) const;
  [[nodiscard]] const PublicKey& public_key() const { return public_key_; }
  // PKCS#8 in PEM, for TLS. A secret.
  [[nodiscard]] std::string ToPkcs8Pem() const;

  // With an empty passphrase the seed stands in the file as it is (mode 0600); with one, it is
  // encrypted (Argon2id and XChaCha20-Poly1305). Never overwrites: ALREADY_EXISTS.
  [[nodiscard]] absl::Status Save(const std::string& path, std::string_view passphrase,
                                  RandomSource& random) const;
  // NOT_FOUND, DATA_LOSS (damaged), PERMISSION_DENIED (a passphrase is needed, or it is wrong).
  // Refuses a file that others may read: FAILED_PRECONDITION says which mode to set.
  static absl::StatusOr<SigningKey> Load(const std::string& path, std::string_view passphrase);

 private:
  SigningKey() = default;
  SecretBytes<64> secret_;  // libsodium's form: seed, then public key
  PublicKey public_key_{};
};

// Refuses non-canonical signatures and low-order keys, as libsodium does.
bool VerifySignature(const PublicKey& key, std::string_view domain, std::span<const uint8_t> bytes,
                     std::span<const uint8_t> signature);
bool VerifyRawSignature(const PublicKey& key, std::span<const uint8_t> bytes,
                        std::span<const uint8_t> signature);

// A node's id: SHA-256 of its device key. A federation's: SHA-256 of its authority's key.
std::array<uint8_t, 32> IdOf(const PublicKey& key);

// INVALID_ARGUMENT unless `bytes` has 32 bytes.
absl::StatusOr<PublicKey> PublicKeyFrom(std::span<const uint8_t> bytes);

}  // namespace choir::trust

#endif  // CHOIR_PROTO_TRUST_KEYS_H_
