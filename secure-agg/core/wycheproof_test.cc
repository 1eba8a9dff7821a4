// Wycheproof's cases through our wrappers. We are stricter than RFC 7748 where Wycheproof lets both
// answers pass: a key of low order, and a second spelling of a key, are refused.
#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/hex.h"
#include "secure-agg/core/abort_reason.h"
#include "secure-agg/core/hkdf.h"
#include "secure-agg/core/key_agreement.h"
#include "secure-agg/core/sealing.h"
#include "secure-agg/core/signing.h"
#include "tests/support/vector_cases.h"

namespace choir::secagg {
namespace {

using Bytes = std::vector<uint8_t>;

Bytes Hex(std::string_view text) {
  return HexDecode(text).value();
}

template <size_t N>
std::array<uint8_t, N> Array(std::string_view text) {
  const Bytes bytes = Hex(text);
  EXPECT_EQ(bytes.size(), N);
  std::array<uint8_t, N> out{};
  std::copy_n(bytes.begin(), std::min(N, bytes.size()), out.begin());
  return out;
}

// Bit 255 set, or u >= 2^255 - 19.
bool HasSecondSpelling(PublicKey key) {
  if (key[31] & 0x80) return true;
  bool ones = key[31] == 0x7f && key[0] >= 0xed;
  for (size_t i = 1; i < 31; ++i) ones = ones && key[i] == 0xff;
  return ones;
}

TEST(WycheproofTest, X25519) {
  const auto cases = VectorCases("wycheproof_x25519.txt");
  ASSERT_EQ(cases.size(), 88u);
  int low_order = 0;
  int respelt = 0;
  for (const auto& entry : cases) {
    SCOPED_TRACE(entry[0]);
    const auto key = Array<32>(entry[1]);
    const absl::StatusOr<SecretBytes<32>> shared = Agree(SecretBytes<32>(Array<32>(entry[2])), key);
    if (entry[3].empty()) {
      ++low_order;
      EXPECT_EQ(ReasonOf(shared.status()), AbortReason::kLowOrderKey);
      EXPECT_EQ(ReasonOf(CheckPublicKey(key)), AbortReason::kLowOrderKey);
      continue;
    }
    ASSERT_TRUE(shared.ok()) << shared.status();
    EXPECT_EQ(HexEncode(shared->Expose()), entry[3]);
    respelt += HasSecondSpelling(key) ? 1 : 0;
    EXPECT_EQ(CheckPublicKey(key).ok(), !HasSecondSpelling(key));
  }
  EXPECT_EQ(low_order, 26);
  EXPECT_EQ(respelt, 7);
}

bool Verifies(const Bytes& message, const Bytes& signature) {
  // A signature of another length has no place in the type.
  if (signature.size() != sizeof(Signature)) return false;
  Signature fixed{};
  std::copy_n(signature.begin(), fixed.size(), fixed.begin());
  const auto key = Array<32>("7d4d0e7f6153a69b6242b522abbee685fda4420f8834b108c3bdae369ef549fa");
  return VerifySignature(key, message, fixed);
}

TEST(WycheproofTest, Ed25519) {
  const auto cases = VectorCases("wycheproof_ed25519.txt");
  ASSERT_EQ(cases.size(), 63u);
  for (const auto& entry : cases) {
    EXPECT_EQ(Verifies(Hex(entry[1]), Hex(entry[2])), entry[3] == "valid") << entry[0];
  }
}

// Every s + kL that fits 32 bytes is the same scalar, and none but s itself a signature.
TEST(WycheproofTest, Ed25519TakesOneSpellingOfAScalar) {
  const Bytes order = Hex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
  const auto valid = VectorCases("wycheproof_ed25519.txt")[2];
  const Bytes message = Hex(valid[1]);
  Bytes signature = Hex(valid[2]);
  ASSERT_TRUE(Verifies(message, signature));
  for (int k = 1; k <= 15; ++k) {
    unsigned carry = 0;
    for (size_t i = 0; i < order.size(); ++i) {
      carry += unsigned{signature[32 + i]} + order[i];
      signature[32 + i] = static_cast<uint8_t>(carry);
      carry >>= 8;
    }
    ASSERT_EQ(carry, 0u);
    EXPECT_FALSE(Verifies(message, signature)) << "s + " << k << " L";
  }
}

TEST(WycheproofTest, HkdfSha256) {
  const auto cases = VectorCases("wycheproof_hkdf_sha256.txt");
  ASSERT_EQ(cases.size(), 23u);
  for (const auto& entry : cases) {
    Bytes out(entry[4].size() / 2);
    HkdfSha256(Hex(entry[1]), Hex(entry[2]), Hex(entry[3]), out);
    EXPECT_EQ(HexEncode(out), entry[4]) << entry[0];
  }
}

TEST(WycheproofTest, XChaCha20Poly1305) {
  const auto cases = VectorCases("wycheproof_xchacha20_poly1305.txt");
  ASSERT_EQ(cases.size(), 5u);
  for (const auto& entry : cases) {
    const SecretBytes<32> key(Array<32>(entry[1]));
    EXPECT_EQ(HexEncode(Seal(key, Array<24>(entry[2]), Hex(entry[4]), Hex(entry[3]))), entry[5])
        << entry[0];
  }
}

// What Wycheproof's invalid cases do to a tag and a text, for each bit of ours.
TEST(WycheproofTest, SealedSharesOpenWithNoBitChanged) {
  const SecretBytes<32> key(std::array<uint8_t, 32>{5});
  const SharePair pair{SecretBytes<32>(std::array<uint8_t, 32>{11}),
                       SecretBytes<32>(std::array<uint8_t, 32>{22})};
  const Bytes context = SealContext(Digest{1}, Digest{2}, "a", "b");
  auto sealed = SealShares(key, pair, context);
  ASSERT_TRUE(OpenShares(key, sealed, context).ok());
  for (size_t bit = 0; bit < 8 * sealed.size(); ++bit) {
    sealed[bit / 8] ^= static_cast<uint8_t>(1 << (bit % 8));
    EXPECT_EQ(ReasonOf(OpenShares(key, sealed, context).status()), AbortReason::kBadShare) << bit;
    sealed[bit / 8] ^= static_cast<uint8_t>(1 << (bit % 8));
  }
}

}  // namespace
}  // namespace choir::secagg
