#include "proto/trust/keys.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include <fmt/format.h>
#include <sodium.h>

#include "base/check.h"
#include "base/file.h"
#include "base/sha256.h"
#include "base/status_macros.h"

namespace choir::trust {
namespace {

// File form: magic, one byte (0 plain, 1 encrypted), then the seed, or salt, nonce and the sealed
// seed.
constexpr std::string_view kMagic = "choir-key-1\n";
constexpr size_t kSeedBytes = 32;
constexpr size_t kSealedBytes = kSeedBytes + crypto_aead_xchacha20poly1305_ietf_ABYTES;
constexpr size_t kSaltBytes = crypto_pwhash_SALTBYTES;
constexpr size_t kNonceBytes = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;

void EnsureSodium() {
  CHOIR_CHECK(sodium_init() >= 0);
}

std::vector<uint8_t> WithDomain(std::string_view domain, std::span<const uint8_t> bytes) {
  std::vector<uint8_t> message(domain.begin(), domain.end());
  message.push_back(0);
  message.insert(message.end(), bytes.begin(), bytes.end());
  return message;
}

absl::Status DeriveFileKey(std::string_view passphrase, std::span<const uint8_t> salt,
                           SecretBytes<32>& key) {
  if (crypto_pwhash(key.ExposeMutable().data(), 32, passphrase.data(), passphrase.size(),
                    salt.data(), crypto_pwhash_OPSLIMIT_INTERACTIVE,
                    crypto_pwhash_MEMLIMIT_INTERACTIVE, crypto_pwhash_ALG_ARGON2ID13) != 0) {
    return absl::ResourceExhaustedError("not enough memory to derive a key from the passphrase");
  }
  return absl::OkStatus();
}

absl::Status CheckOwnerOnly(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return ErrnoStatus(fmt::format("cannot stat {}", path));
  if ((info.st_mode & 077) != 0) {
    return absl::FailedPreconditionError(
        fmt::format("the key file {} may be read by others (mode {:o}): run chmod 600 on it", path,
                    info.st_mode & 0777));
  }
  return absl::OkStatus();
}

absl::StatusOr<SecretBytes<kSeedBytes>> Unseal(const std::string& path,
                                               std::span<const uint8_t> rest,
                                               std::string_view passphrase) {
  if (rest.size() != kSaltBytes + kNonceBytes + kSealedBytes) {
    return absl::DataLossError(fmt::format("the key file {} is damaged", path));
  }
  if (passphrase.empty()) {
    return absl::PermissionDeniedError(fmt::format("the key file {} needs its passphrase", path));
  }
  SecretBytes<32> key;
  CHOIR_RETURN_IF_ERROR(DeriveFileKey(passphrase, rest.first(kSaltBytes), key));
  SecretBytes<kSeedBytes> seed;
  if (crypto_aead_xchacha20poly1305_ietf_decrypt(
          seed.ExposeMutable().data(), nullptr, nullptr, rest.data() + kSaltBytes + kNonceBytes,
          kSealedBytes, AsBytes(kMagic).data(), kMagic.size(), rest.data() + kSaltBytes,
          key.Expose().data()) != 0) {
    return absl::PermissionDeniedError(
        fmt::format("the passphrase does not open {} (or the file is damaged)", path));
  }
  return seed;
}

}  // namespace

SigningKey SigningKey::Generate(RandomSource& random) {
  SecretBytes<kSeedBytes> seed;
  random.Fill(seed.ExposeMutable());
  return FromSeed(seed.Expose());
}

SigningKey SigningKey::FromSeed(std::span<const uint8_t, 32> seed) {
  EnsureSodium();
  SigningKey key;
  CHOIR_CHECK(crypto_sign_seed_keypair(key.public_key_.data(), key.secret_.ExposeMutable().data(),
                                       seed.data()) == 0);
  return key;
}

Signature SigningKey::Sign(std::string_view domain, std::span<const uint8_t> bytes) const {
  return SignRaw(WithDomain(domain, bytes));
}

Signature SigningKey::SignRaw(std::span<const uint8_t> bytes) const {
  Signature signature;
  CHOIR_CHECK(crypto_sign_detached(signature.data(), nullptr, bytes.data(), bytes.size(),
                                   secret_.Expose().data()) == 0);
  return signature;
}

std::string SigningKey::ToPkcs8Pem() const {
  // RFC 8410: the fixed prefix of a PrivateKeyInfo for Ed25519, then the seed.
  constexpr std::array<uint8_t, 16> kPrefix = {0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06,
                                               0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20};
  SecretBytes<kPrefix.size() + kSeedBytes> der;
  std::copy(kPrefix.begin(), kPrefix.end(), der.ExposeMutable().begin());
  std::copy_n(secret_.Expose().begin(), kSeedBytes, der.ExposeMutable().begin() + kPrefix.size());
  std::string text(
      sodium_base64_ENCODED_LEN(kPrefix.size() + kSeedBytes, sodium_base64_VARIANT_ORIGINAL), '\0');
  sodium_bin2base64(text.data(), text.size(), der.Expose().data(), der.Expose().size(),
                    sodium_base64_VARIANT_ORIGINAL);
  text.resize(text.size() - 1);  // the terminating zero
  return fmt::format("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", text);
}

absl::Status SigningKey::Save(const std::string& path, std::string_view passphrase,
                              RandomSource& random) const {
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0) {
    return absl::AlreadyExistsError(fmt::format("{} exists; a key is never overwritten", path));
  }
  std::string bytes(kMagic);
  bytes.push_back(passphrase.empty() ? '\0' : '\1');
  if (passphrase.empty()) {
    bytes.append(AsChars(secret_.Expose().first<kSeedBytes>()));
  } else {
    std::array<uint8_t, kSaltBytes + kNonceBytes> public_part;
    random.Fill(public_part);
    SecretBytes<32> key;
    CHOIR_RETURN_IF_ERROR(DeriveFileKey(passphrase, std::span(public_part).first(kSaltBytes), key));
    std::array<uint8_t, kSealedBytes> sealed;
    crypto_aead_xchacha20poly1305_ietf_encrypt(
        sealed.data(), nullptr, secret_.Expose().data(), kSeedBytes, AsBytes(kMagic).data(),
        kMagic.size(), nullptr, public_part.data() + kSaltBytes, key.Expose().data());
    bytes.append(AsChars(public_part)).append(AsChars(sealed));
  }
  absl::Status status = AtomicWriteSecretFile(path, bytes);
  sodium_memzero(bytes.data(), bytes.size());
  return status;
}

absl::StatusOr<SigningKey> SigningKey::Load(const std::string& path, std::string_view passphrase) {
  CHOIR_ASSIGN_OR_RETURN(std::string bytes, ReadFile(path, 4096));
  CHOIR_RETURN_IF_ERROR(CheckOwnerOnly(path));
  if (bytes.size() <= kMagic.size() || !bytes.starts_with(kMagic)) {
    return absl::DataLossError(fmt::format("{} is no Choir key file", path));
  }
  const std::span<const uint8_t> rest = AsBytes(bytes).subspan(kMagic.size() + 1);
  if (bytes[kMagic.size()] == '\1') {
    CHOIR_ASSIGN_OR_RETURN(const SecretBytes<kSeedBytes> seed, Unseal(path, rest, passphrase));
    return FromSeed(seed.Expose());
  }
  if (bytes[kMagic.size()] != '\0' || rest.size() != kSeedBytes) {
    return absl::DataLossError(fmt::format("the key file {} is damaged", path));
  }
  SigningKey key = FromSeed(rest.first<kSeedBytes>());
  sodium_memzero(bytes.data(), bytes.size());
  return key;
}

bool VerifySignature(const PublicKey& key, std::string_view domain, std::span<const uint8_t> bytes,
                     std::span<const uint8_t> signature) {
  return VerifyRawSignature(key, WithDomain(domain, bytes), signature);
}

bool VerifyRawSignature(const PublicKey& key, std::span<const uint8_t> bytes,
                        std::span<const uint8_t> signature) {
  EnsureSodium();
  return signature.size() == crypto_sign_BYTES &&
         crypto_sign_verify_detached(signature.data(), bytes.data(), bytes.size(), key.data()) == 0;
}

std::array<uint8_t, 32> IdOf(const PublicKey& key) {
  return Sha256Of(key);
}

absl::StatusOr<PublicKey> PublicKeyFrom(std::span<const uint8_t> bytes) {
  PublicKey key;
  if (bytes.size() != key.size()) {
    return absl::InvalidArgumentError(
        fmt::format("an Ed25519 public key has 32 bytes, got {}", bytes.size()));
  }
  std::copy(bytes.begin(), bytes.end(), key.begin());
  return key;
}

}  // namespace choir::trust
