#include "secure-agg/core/key_agreement.h"

#include <string_view>
#include <utility>
#include <vector>

#include <sodium.h>

#include "base/check.h"
#include "base/file.h"
#include "base/hex.h"
#include "base/status_macros.h"
#include "secure-agg/core/abort_reason.h"
#include "secure-agg/core/hkdf.h"
#include "secure-agg/core/seeded_bug.h"
#include "secure-agg/core/wire.h"

namespace choir::secagg {
namespace {

// Every canonical u of order 1, 2, 4 or 8 on Curve25519 or its twist: 0, 1, p - 1 and the two of
// order 8 (Bernstein, https://cr.yp.to/ecdh.html#validate). A list costs nothing beside asking
// X25519.
constexpr PublicKey kLowOrderPoints[] = {
    {},
    {1},
    {0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
    {0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3,
     0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32,
     0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00},
    {0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1,
     0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c,
     0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57}};

void AppendShape(WireWriter& info, const MaskShape& shape) {
  info.Enum(shape.prg, 0, 255);
  info.Number(static_cast<uint8_t>(shape.word_bits));
  info.Number(shape.num_words);
}

SecretBytes<32> Expand(const SecretBytes<32>& key, const Digest& salt, WireWriter info) {
  SecretBytes<32> out;
  HkdfSha256(key.Expose(), salt, std::move(info).Take(), out.ExposeMutable());
  return out;
}

WireWriter Labelled(std::string_view label) {
  WireWriter info;
  info.Reserve(label.size() + 2 * sizeof(PublicKey));  // the keys follow
  info.Raw(AsBytes(label));
  return info;
}

void AppendKeys(WireWriter& info, const PublicKey& own, const PublicKey& peer, bool own_first) {
  info.Fixed(own_first ? own : peer);
  info.Fixed(own_first ? peer : own);
}

}  // namespace

KeyPair MakeKeyPair(SecretBytes<32> secret) {
  KeyPair pair{std::move(secret), {}};
  CHOIR_CHECK(crypto_scalarmult_base(pair.public_key.data(), pair.secret.Expose().data()) == 0);
  return pair;
}

absl::Status CheckPublicKey(const PublicKey& key) {
  if (CHOIR_SEEDED_BUG(9)) return absl::OkStatus();
  // u >= p means bytes 1 to 30 are 0xff, byte 31 is 0x7f and byte 0 is at least 0xed.
  bool above = key[31] == 0x7f && key[0] >= 0xed;
  for (size_t i = 1; i < 31; ++i) above = above && key[i] == 0xff;
  if (above || (key[31] & 0x80) != 0) {
    return Refusal(AbortReason::kLowOrderKey,
                   "public key " + HexEncode(key) + " is not in canonical form");
  }
  for (const PublicKey& low : kLowOrderPoints) {
    if (key == low) {
      return Refusal(AbortReason::kLowOrderKey, "public key " + HexEncode(key) + " has low order");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<SecretBytes<32>> Agree(const SecretBytes<32>& secret, const PublicKey& peer) {
  SecretBytes<32> shared;
  const bool agreed =
      crypto_scalarmult(shared.ExposeMutable().data(), secret.Expose().data(), peer.data()) == 0;
  if (!agreed && !CHOIR_SEEDED_BUG(9)) {
    return Refusal(AbortReason::kLowOrderKey, "public key " + HexEncode(peer) + " has low order");
  }
  return shared;
}

absl::StatusOr<SecretBytes<32>> PairMaskKey(const KeyPair& own, const PublicKey& peer,
                                            bool own_first, const Digest& salt,
                                            const MaskShape& shape) {
  CHOIR_ASSIGN_OR_RETURN(const SecretBytes<32> shared, Agree(own.secret, peer));
  WireWriter info = Labelled("choir/pair");
  AppendKeys(info, own.public_key, peer, own_first);
  AppendShape(info, shape);
  return Expand(shared, salt, std::move(info));
}

SecretBytes<32> SelfMaskKey(const SecretBytes<32>& b, const Digest& salt, const MaskShape& shape) {
  WireWriter info = Labelled("choir/self");
  AppendShape(info, shape);
  return Expand(b, salt, std::move(info));
}

absl::StatusOr<SecretBytes<32>> SealKey(const KeyPair& own, const PublicKey& peer, bool own_sends,
                                        const Digest& salt) {
  CHOIR_ASSIGN_OR_RETURN(const SecretBytes<32> shared, Agree(own.secret, peer));
  WireWriter info = Labelled("choir/seal");
  AppendKeys(info, own.public_key, peer, own_sends);
  if (CHOIR_SEEDED_BUG(2)) return Expand(shared, salt, Labelled("choir/seal"));
  return Expand(shared, salt, std::move(info));
}

SecretBytes<32> MaskSecretOf(const SecretBytes<32>& s, const Digest& h0) {
  return DeriveSecret(s.Expose(), h0, "choir/mask-key");
}

Digest CommitSelfMask(const SecretBytes<32>& b, const Digest& h0) {
  Digest commitment;
  HkdfSha256(b.Expose(), h0, AsBytes("choir/self-mask-commitment"), commitment);
  return commitment;
}

}  // namespace choir::secagg
