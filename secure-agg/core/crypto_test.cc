#include <array>
#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/file.h"
#include "base/hex.h"
#include "base/random.h"
#include "secure-agg/core/abort_reason.h"
#include "secure-agg/core/hkdf.h"
#include "secure-agg/core/key_agreement.h"
#include "secure-agg/core/masking.h"
#include "secure-agg/core/sealing.h"
#include "secure-agg/core/signing.h"

namespace choir::secagg {
namespace {

std::vector<uint8_t> Bytes(std::string_view hex) {
  return HexDecode(hex).value();
}

template <size_t N>
std::array<uint8_t, N> Array(std::string_view hex) {
  std::array<uint8_t, N> out{};
  std::ranges::copy(Bytes(hex), out.begin());
  return out;
}

SecretBytes<32> Secret(std::string_view hex) {
  return SecretBytes<32>(Array<32>(hex));
}

std::string AgreeHex(std::string_view secret, std::string_view peer) {
  return HexEncode(Agree(Secret(secret), Array<32>(peer)).value().Expose());
}

// RFC 7748, section 5.2.
TEST(KeyAgreementTest, MatchesRfc7748) {
  EXPECT_EQ(AgreeHex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
                     "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c"),
            "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552");
  EXPECT_EQ(AgreeHex("4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
                     "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493"),
            "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957");
}

TEST(KeyAgreementTest, MatchesRfc7748Iterated) {
  std::array<uint8_t, 32> k{9};
  std::array<uint8_t, 32> u{9};
  for (int i = 1; i <= 1000; ++i) {
    const SecretBytes<32> next = Agree(SecretBytes<32>(k), u).value();
    u = k;
    std::ranges::copy(next.Expose(), k.begin());
    if (i == 1) {
      EXPECT_EQ(HexEncode(k), "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079");
    }
  }
  EXPECT_EQ(HexEncode(k), "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51");
}

// RFC 7748, section 6.1.
TEST(KeyAgreementTest, MatchesRfc7748DiffieHellman) {
  const KeyPair alice =
      MakeKeyPair(Secret("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"));
  const KeyPair bob =
      MakeKeyPair(Secret("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"));
  EXPECT_EQ(HexEncode(alice.public_key),
            "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
  EXPECT_EQ(HexEncode(bob.public_key),
            "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
  EXPECT_EQ(HexEncode(Agree(alice.secret, bob.public_key).value().Expose()),
            "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
  EXPECT_EQ(HexEncode(Agree(bob.secret, alice.public_key).value().Expose()),
            "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
}

TEST(KeyAgreementTest, RefusesLowOrderAndNonCanonicalPoints) {
  const PublicKey one{1};
  // A point of order 8 (RFC 7748 implementations' usual list), and u = p and p + 1 spelled out.
  const auto order8 = Array<32>("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800");
  const auto p = Array<32>("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f");
  const auto nine_with_high_bit =
      Array<32>("0900000000000000000000000000000000000000000000000000000000000080");
  for (const PublicKey& key : {PublicKey{}, one, order8, p, nine_with_high_bit}) {
    EXPECT_EQ(ReasonOf(CheckPublicKey(key)), AbortReason::kLowOrderKey) << HexEncode(key);
  }
  EXPECT_TRUE(CheckPublicKey(PublicKey{9}).ok());
}

// The list of https://cr.yp.to/ecdh.html#validate: 0, 1, two points of order 8, p - 1, p, p + 1.
// Each is refused, and X25519 itself agrees on nothing with it.
TEST(KeyAgreementTest, RefusesEveryPointOfLowOrder) {
  const std::string_view points[] = {
      "0000000000000000000000000000000000000000000000000000000000000000",
      "0100000000000000000000000000000000000000000000000000000000000000",
      "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
      "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
      "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"};
  const SecretBytes<32> secret =
      Secret("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
  for (const std::string_view hex : points) {
    EXPECT_EQ(ReasonOf(CheckPublicKey(Array<32>(hex))), AbortReason::kLowOrderKey) << hex;
    EXPECT_EQ(ReasonOf(Agree(secret, Array<32>(hex)).status()), AbortReason::kLowOrderKey) << hex;
  }
}

TEST(KeyAgreementTest, PairMaskKeysMeetAndDependOnTheSalt) {
  const KeyPair a = MakeKeyPair(SecretBytes<32>(std::array<uint8_t, 32>{1}));
  const KeyPair b = MakeKeyPair(SecretBytes<32>(std::array<uint8_t, 32>{2}));
  const MaskShape shape{Prg::kChaCha20, 16, 100};
  const Digest salt{7};
  const auto from_a = PairMaskKey(a, b.public_key, true, salt, shape).value();
  const auto from_b = PairMaskKey(b, a.public_key, false, salt, shape).value();
  EXPECT_TRUE(EqualConstantTime(from_a.Expose(), from_b.Expose()));
  const auto other_salt = PairMaskKey(a, b.public_key, true, Digest{8}, shape).value();
  EXPECT_FALSE(EqualConstantTime(from_a.Expose(), other_salt.Expose()));
  const auto other_prg =
      PairMaskKey(a, b.public_key, true, salt, {Prg::kAes256Ctr, 16, 100}).value();
  EXPECT_FALSE(EqualConstantTime(from_a.Expose(), other_prg.Expose()));
}

// RFC 8032, section 7.1, tests 1 and 2.
TEST(SigningTest, MatchesRfc8032) {
  const Ed25519Signer first(
      Secret("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"));
  EXPECT_EQ(HexEncode(first.public_key()),
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
  EXPECT_EQ(
      HexEncode(first.Sign({}).value()),
      "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e397"
      "01cf9b46bd25bf5f0595bbe24655141438e7a100b");
  const Ed25519Signer second(
      Secret("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"));
  const std::vector<uint8_t> message = {0x72};
  Signature signature = second.Sign(message).value();
  EXPECT_EQ(
      HexEncode(signature),
      "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f361"
      "3d0f11d8c387b2eaeb4302aeeb00d291612bb0c00");
  EXPECT_TRUE(VerifySignature(second.public_key(), message, signature));
  EXPECT_FALSE(VerifySignature(first.public_key(), message, signature));
  signature[5] ^= 1;
  EXPECT_FALSE(VerifySignature(second.public_key(), message, signature));
}

// RFC 5869, appendices A.1 and A.3.
TEST(HkdfTest, MatchesRfc5869) {
  const std::vector<uint8_t> key(22, 0x0b);
  std::vector<uint8_t> out(42);
  HkdfSha256(key, Bytes("000102030405060708090a0b0c"), Bytes("f0f1f2f3f4f5f6f7f8f9"), out);
  EXPECT_EQ(HexEncode(out),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
  HkdfSha256(key, {}, {}, out);
  EXPECT_EQ(HexEncode(out),
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8");
}

// RFC 8439 (zero key and nonce, counter 0); AES-256-CTR with zero key and counter block.
TEST(MaskStreamTest, MatchesPublishedKeyStreams) {
  std::vector<uint8_t> out(64);
  MaskStream(Prg::kChaCha20, SecretBytes<32>()).Next(out);
  EXPECT_EQ(
      HexEncode(out),
      "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7da41597c5157488d7724e03"
      "fb8d84a376a43b8f41518a11cc387b669b2ee6586");
  out.resize(40);
  MaskStream(Prg::kAes256Ctr, SecretBytes<32>()).Next(out);
  EXPECT_EQ(HexEncode(out),
            "dc95c078a2408989ad48a21492842087530f8afbc74536b9a963b4f1c4cb738b"
            "cea7403d4d606b6e");
}

// RFC 8439, appendix A.1, test vectors 2 to 4: blocks behind the first one.
TEST(MaskStreamTest, MatchesRfc8439FurtherOn) {
  const auto block = [](std::array<uint8_t, 32> key, uint64_t number) {
    std::vector<uint8_t> out(64);
    MaskStream stream(Prg::kChaCha20, SecretBytes<32>());
    stream.Restart(SecretBytes<32>(key), 64 * number);
    stream.Next(out);
    return HexEncode(out);
  };
  EXPECT_EQ(block({}, 1),
            "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed"
            "29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f");
  std::array<uint8_t, 32> last_bit{};
  last_bit[31] = 1;
  EXPECT_EQ(block(last_bit, 1),
            "3aeb5224ecf849929b9d828db1ced4dd832025e8018b8160b82284f3c949aa5a"
            "8eca00bbb4a73bdad192b5c42f73f2fd4e273644c8b36125a64addeb006c13a0");
  EXPECT_EQ(block({0, 0xff}, 2),
            "72d54dfbf12ec44b362692df94137f328fea8da73990265ec1bbbea1ae9af0ca"
            "13b25aa26cb4a648cb9b9d1be65b2c0924a66c54d545ec1b7374f4872e99f096");
}

// NIST's AESAVS (KeySbox and VarKey of 256 bits): they encrypt zeros, which is our first block.
TEST(MaskStreamTest, MatchesAesavs) {
  const std::pair<const char*, const char*> cases[] = {
      {"c47b0294dbbbee0fec4757f22ffeee3587ca4730c3d33b691df38bab076bc558",
       "46f2fb342d6f0ab477476fc501242c5f"},
      {"28d46cffa158533194214a91e712fc2b45b518076675affd910edeca5f41ac64",
       "4bf3b0a69aeb6657794f2901b1440ad4"},
      {"8000000000000000000000000000000000000000000000000000000000000000",
       "e35a6dcb19b201a01ebcfa8aa22b5759"},
      {"c000000000000000000000000000000000000000000000000000000000000000",
       "b29169cdcf2d83e838125a12ee6aa400"}};
  for (const auto& [key, block] : cases) {
    std::vector<uint8_t> out(16);
    MaskStream(Prg::kAes256Ctr, Secret(key)).Next(out);
    EXPECT_EQ(HexEncode(out), block);
  }
}

TEST(MaskStreamTest, PiecesContinueOneStream) {
  const SecretBytes<32> key(std::array<uint8_t, 32>{3});
  for (const Prg prg : {Prg::kChaCha20, Prg::kAes256Ctr}) {
    std::vector<uint8_t> whole(60000);
    MaskStream(prg, key).Next(whole);
    std::vector<uint8_t> pieces(whole.size());
    MaskStream stream(prg, key);
    size_t offset = 0;
    for (const size_t size : {1u, 63u, 64u, 65u, 24576u, 35231u}) {
      stream.Next(std::span(pieces).subspan(offset, size));
      offset += size;
    }
    ASSERT_EQ(offset, whole.size());
    EXPECT_EQ(pieces, whole);
  }
}

// draft-irtf-cfrg-xchacha-03, appendix A.3.1.
TEST(SealingTest, MatchesXChaChaDraft) {
  SealNonce nonce;
  std::ranges::copy(Bytes("404142434445464748494a4b4c4d4e4f5051525354555657"), nonce.begin());
  const std::string text =
      "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
      "sunscreen would be it.";
  const std::vector<uint8_t> sealed =
      Seal(Secret("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f"), nonce,
           AsBytes(text), Bytes("50515253c0c1c2c3c4c5c6c7"));
  const std::string hex = HexEncode(sealed);
  EXPECT_EQ(hex.substr(0, 32), "bd6d179d3e83d43b9576579493c0e939");
  EXPECT_EQ(hex.substr(hex.size() - 32), "c0875924c1c7987947deafd8780acf49");
}

TEST(SealingTest, OpensOnlyUnderTheSameContextAndUnchanged) {
  const SecretBytes<32> key(std::array<uint8_t, 32>{5});
  const SharePair pair{SecretBytes<32>(std::array<uint8_t, 32>{11}),
                       SecretBytes<32>(std::array<uint8_t, 32>{22})};
  const auto context = SealContext(Digest{1}, Digest{2}, "a", "b");
  auto sealed = SealShares(key, pair, context);
  const SharePair opened = OpenShares(key, sealed, context).value();
  EXPECT_EQ(opened.mask_key.Expose()[0], 11);
  EXPECT_EQ(opened.self_mask.Expose()[0], 22);
  const auto reflected = SealContext(Digest{1}, Digest{2}, "b", "a");
  EXPECT_EQ(ReasonOf(OpenShares(key, sealed, reflected).status()), AbortReason::kBadShare);
  sealed[79] ^= 1;
  EXPECT_EQ(ReasonOf(OpenShares(key, sealed, context).status()), AbortReason::kBadShare);
}

TEST(SealingTest, RefusesSharesThatAreNoCanonicalScalars) {
  const SecretBytes<32> key(std::array<uint8_t, 32>{5});
  std::array<uint8_t, 32> above;
  above.fill(0xff);
  const SharePair pair{SecretBytes<32>(above), SecretBytes<32>()};
  EXPECT_EQ(ReasonOf(OpenShares(key, SealShares(key, pair, {}), {}).status()),
            AbortReason::kBadShare);
}

// Word arithmetic against the obvious way, around the block sizes.
TEST(MaskingTest, WordsAddAndSubtractModuloTheirSize) {
  for (const uint32_t bits : {16u, 24u, 32u}) {
    for (const size_t words : {1u, 15u, 16u, 17u, 21u, 22u, 33u, 1000u}) {
      std::vector<uint8_t> a(words * bits / 8);
      std::vector<uint8_t> b(a.size());
      MaskStream(Prg::kChaCha20, SecretBytes<32>(std::array<uint8_t, 32>{1})).Next(a);
      MaskStream(Prg::kChaCha20, SecretBytes<32>(std::array<uint8_t, 32>{2})).Next(b);
      std::vector<uint8_t> sum = a;
      AddWords(sum, b, bits);
      const size_t step = bits / 8;
      for (size_t i = 0; i < a.size(); i += step) {
        uint64_t x = 0, y = 0, z = 0;
        for (size_t k = 0; k < step; ++k) {
          x |= uint64_t{a[i + k]} << (8 * k);
          y |= uint64_t{b[i + k]} << (8 * k);
          z |= uint64_t{sum[i + k]} << (8 * k);
        }
        ASSERT_EQ((x + y) & ((uint64_t{1} << bits) - 1), z) << bits << " bits, word " << i / step;
      }
      SubtractWords(sum, b, bits);
      EXPECT_EQ(sum, a);
    }
  }
}

// More masks than are expanded at once, over more than one block; all come off again.
TEST(MaskingTest, ManyMasksCancel) {
  std::vector<uint8_t> packed(3 * 24576 + 12, 9);
  const std::vector<uint8_t> before = packed;
  std::vector<Mask> masks;
  for (uint8_t i = 0; i < 150; ++i) {
    masks.push_back({SecretBytes<32>(std::array<uint8_t, 32>{i}), true});
    masks.push_back({SecretBytes<32>(std::array<uint8_t, 32>{i}), false});
  }
  masks.push_back({SecretBytes<32>(std::array<uint8_t, 32>{200}), true});
  ApplyMasks(packed, 24, Prg::kChaCha20, masks);
  EXPECT_NE(packed, before);
  masks.clear();
  masks.push_back({SecretBytes<32>(std::array<uint8_t, 32>{200}), false});
  ApplyMasks(packed, 24, Prg::kChaCha20, masks);
  EXPECT_EQ(packed, before);
}

// Every length around the vectors' sizes, and bytes that make carries run.
TEST(MaskingTest, PackedWordsEqualWordByWordArithmetic) {
  SeededRng rng(5);
  for (const uint32_t bits : {16u, 24u, 32u}) {
    const uint32_t width = bits / 8;
    for (uint32_t words = 0; words < 300; words += words < 70 ? 1 : 23) {
      std::vector<uint8_t> a(size_t{words} * width);
      std::vector<uint8_t> b(a.size());
      for (auto* bytes : {&a, &b}) {
        for (uint8_t& byte : *bytes) {
          const uint64_t kind = rng.NextBelow(4);
          byte = kind == 0 ? 0 : kind == 1 ? 255 : static_cast<uint8_t>(rng.NextBelow(256));
        }
      }
      std::vector<uint8_t> sum = a;
      std::vector<uint8_t> difference = a;
      AddWords(sum, b, bits);
      SubtractWords(difference, b, bits);
      for (uint32_t i = 0; i < words; ++i) {
        uint32_t x = 0, y = 0, s = 0, d = 0;
        std::memcpy(&x, a.data() + i * width, width);
        std::memcpy(&y, b.data() + i * width, width);
        std::memcpy(&s, sum.data() + i * width, width);
        std::memcpy(&d, difference.data() + i * width, width);
        const uint32_t mask = bits == 32 ? ~0u : (1u << bits) - 1;
        ASSERT_EQ(s, (x + y) & mask) << bits << " " << words << " " << i;
        ASSERT_EQ(d, (x - y) & mask) << bits << " " << words << " " << i;
      }
    }
  }
}

TEST(MaskingTest, RangesInParallelAreTheWholeInOrder) {
  std::vector<Mask> masks;
  for (uint8_t i = 0; i < 5; ++i) {
    masks.push_back({SecretBytes<32>(std::array<uint8_t, 32>{i}), i % 2 == 0});
  }
  for (const Prg prg : {Prg::kChaCha20, Prg::kAes256Ctr}) {
    for (const uint32_t bits : {16u, 24u, 32u}) {
      // Three ranges and a bit, in words.
      std::vector<uint8_t> whole(size_t{600'000} / (bits / 8) * (bits / 8), 7);
      std::vector<uint8_t> parts = whole;
      std::vector<uint8_t> streams = whole;
      ApplyMasks(whole, bits, prg, masks);
      ApplyMasks(parts, bits, prg, masks, Threads(3));
      EXPECT_EQ(whole, parts);
      std::vector<uint8_t> stream(whole.size());
      for (const Mask& mask : masks) {
        MaskStream(prg, mask.key).Next(stream);
        mask.add ? AddWords(streams, stream, bits) : SubtractWords(streams, stream, bits);
      }
      EXPECT_EQ(whole, streams);
    }
  }
}

}  // namespace
}  // namespace choir::secagg
