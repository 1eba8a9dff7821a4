#include "secure-agg/core/sealing.h"

#include <algorithm>

#include <sodium.h>

#include "base/check.h"
#include "base/file.h"
#include "secure-agg/core/abort_reason.h"
#include "secure-agg/core/shamir.h"
#include "secure-agg/core/wire.h"

namespace choir::secagg {
namespace {

constexpr SealNonce kZeroNonce{};
static_assert(kZeroNonce.size() == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES);
static_assert(kSealedSharesBytes == 64 + crypto_aead_xchacha20poly1305_ietf_ABYTES);

}  // namespace

std::vector<uint8_t> SealContext(const Digest& h0, const Digest& h1, const NodeId& from,
                                 const NodeId& to) {
  WireWriter writer;
  writer.Raw(AsBytes("choir/share"));
  writer.Fixed(h0);
  writer.Fixed(h1);
  writer.Text(from, 1, kMaxIdBytes);
  writer.Text(to, 1, kMaxIdBytes);
  return std::move(writer).Take();
}

std::vector<uint8_t> Seal(const SecretBytes<32>& key, const SealNonce& nonce,
                          std::span<const uint8_t> plain, std::span<const uint8_t> context) {
  std::vector<uint8_t> sealed(plain.size() + crypto_aead_xchacha20poly1305_ietf_ABYTES);
  unsigned long long size = 0;
  CHOIR_CHECK(crypto_aead_xchacha20poly1305_ietf_encrypt(
                  sealed.data(), &size, plain.data(), plain.size(), context.data(), context.size(),
                  nullptr, nonce.data(), key.Expose().data()) == 0);
  CHOIR_CHECK(size == sealed.size());
  return sealed;
}

std::array<uint8_t, kSealedSharesBytes> SealShares(const SecretBytes<32>& key,
                                                   const SharePair& shares,
                                                   std::span<const uint8_t> context) {
  SecretBytes<64> plain;
  std::ranges::copy(shares.mask_key.Expose(), plain.ExposeMutable().begin());
  std::ranges::copy(shares.self_mask.Expose(), plain.ExposeMutable().begin() + 32);
  const std::vector<uint8_t> bytes = Seal(key, kZeroNonce, plain.Expose(), context);
  std::array<uint8_t, kSealedSharesBytes> sealed{};
  std::ranges::copy(bytes, sealed.begin());
  return sealed;
}

absl::StatusOr<SharePair> OpenShares(const SecretBytes<32>& key,
                                     std::span<const uint8_t, kSealedSharesBytes> sealed,
                                     std::span<const uint8_t> context) {
  SecretBytes<64> plain;
  unsigned long long size = 0;
  if (crypto_aead_xchacha20poly1305_ietf_decrypt(
          plain.ExposeMutable().data(), &size, nullptr, sealed.data(), sealed.size(),
          context.data(), context.size(), kZeroNonce.data(), key.Expose().data()) != 0) {
    return Refusal(AbortReason::kBadShare, "a sealed share does not open");
  }
  SharePair shares{SecretBytes<32>(plain.Expose().first<32>()),
                   SecretBytes<32>(plain.Expose().last<32>())};
  if (!IsCanonicalScalar(shares.mask_key.Expose()) ||
      !IsCanonicalScalar(shares.self_mask.Expose())) {
    return Refusal(AbortReason::kBadShare, "a share is no canonical scalar");
  }
  return shares;
}

}  // namespace choir::secagg
