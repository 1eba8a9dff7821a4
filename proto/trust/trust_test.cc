#include <sys/stat.h>

#include "absl/time/clock.h"
#include <gtest/gtest.h>

#include "base/file.h"
#include "base/hex.h"
#include "proto/trust/certificates.h"
#include "proto/trust/documents.h"
#include "proto/trust/invite.h"
#include "proto/trust/keys.h"
#include "tests/support/temp_dir.h"
#include "tests/support/vector_cases.h"

namespace choir::trust {
namespace {

SigningKey KeyOf(uint8_t first) {
  std::array<uint8_t, 32> seed{first};
  return SigningKey::FromSeed(seed);
}

Validity Year(absl::Time now) {
  return {now - absl::Hours(1), now + absl::Hours(24 * 365)};
}

TEST(KeysTest, MatchesRfc8032TestOne) {
  const std::vector<uint8_t> seed =
      HexDecode("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").value();
  const SigningKey key = SigningKey::FromSeed(std::span<const uint8_t, 32>(seed));
  EXPECT_EQ(HexEncode(key.public_key()),
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
  EXPECT_EQ(HexEncode(key.SignRaw({})).substr(0, 32), "e5564300c360ac729086e2cc806e828a");
}

TEST(KeysTest, MatchesWycheproof) {
  const PublicKey key =
      PublicKeyFrom(
          HexDecode("7d4d0e7f6153a69b6242b522abbee685fda4420f8834b108c3bdae369ef549fa").value())
          .value();
  const auto cases = VectorCases("wycheproof_ed25519.txt");
  ASSERT_EQ(cases.size(), 63u);
  for (const auto& entry : cases) {
    const std::vector<uint8_t> message = HexDecode(entry[1]).value();
    const std::vector<uint8_t> signature = HexDecode(entry[2]).value();
    EXPECT_EQ(VerifyRawSignature(key, message, signature), entry[3] == "valid") << entry[0];
  }
}

TEST(KeysTest, SignatureBindsItsDomain) {
  const SigningKey key = KeyOf(1);
  const Signature signature = key.Sign("a", AsBytes("text"));
  EXPECT_TRUE(VerifySignature(key.public_key(), "a", AsBytes("text"), signature));
  EXPECT_FALSE(VerifySignature(key.public_key(), "b", AsBytes("text"), signature));
  EXPECT_FALSE(VerifySignature(key.public_key(), "a", AsBytes("texu"), signature));
  EXPECT_FALSE(
      VerifySignature(key.public_key(), "a", AsBytes("text"), std::span(signature).first(63)));
}

TEST(KeysTest, EncryptedFileNeedsItsPassphrase) {
  const TempDir dir;
  SystemRandom random;
  const SigningKey key = SigningKey::Generate(random);
  const std::string path = dir.path() + "/k";
  ASSERT_TRUE(key.Save(path, "open sesame", random).ok());
  EXPECT_EQ(SigningKey::Load(path, "").status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(SigningKey::Load(path, "x").status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(SigningKey::Load(path, "open sesame")->public_key(), key.public_key());
  EXPECT_EQ(key.Save(path, "", random).code(), absl::StatusCode::kAlreadyExists);
}

TEST(KeysTest, KeyFileThatOthersMayReadIsRefused) {
  const TempDir dir;
  SystemRandom random;
  const std::string path = dir.path() + "/k";
  ASSERT_TRUE(KeyOf(2).Save(path, "", random).ok());
  EXPECT_EQ(SigningKey::Load(path, "")->public_key(), KeyOf(2).public_key());
  ASSERT_EQ(::chmod(path.c_str(), 0644), 0);
  EXPECT_EQ(SigningKey::Load(path, "").status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(CertificatesTest, ChainVerifiesAndForeignOrExpiredDoesNot) {
  SystemRandom random;
  const absl::Time now = absl::Now();
  const SigningKey authority = KeyOf(3);
  const SigningKey enrolment = KeyOf(4);
  const std::string root = IssueRoot(authority, "test", Year(now), random).value();
  const std::string ca =
      IssueEnrolmentCa(authority, root, enrolment.public_key(), Year(now), random).value();
  const std::string leaf =
      IssueNode(enrolment, ca, KeyOf(5).public_key(), Year(now), random).value();
  EXPECT_TRUE(VerifyChain(leaf + ca, root, now).ok());
  EXPECT_FALSE(VerifyChain(leaf, root, now).ok());
  EXPECT_FALSE(VerifyChain(leaf + ca, root, now + absl::Hours(24 * 400)).ok());
  const std::string other = IssueRoot(KeyOf(6), "test", Year(now), random).value();
  EXPECT_EQ(VerifyChain(leaf + ca, other, now).code(), absl::StatusCode::kPermissionDenied);
  const CertificateInfo info = ParseCertificate(leaf).value();
  EXPECT_EQ(info.public_key, KeyOf(5).public_key());
  EXPECT_TRUE(info.common_name.starts_with("node:"));
}

TEST(CertificatesTest, ANodeCannotIssueCertificates) {
  SystemRandom random;
  const absl::Time now = absl::Now();
  const std::string root = IssueRoot(KeyOf(3), "test", Year(now), random).value();
  const std::string ca =
      IssueEnrolmentCa(KeyOf(3), root, KeyOf(4).public_key(), Year(now), random).value();
  const std::string node =
      IssueNode(KeyOf(4), ca, KeyOf(5).public_key(), Year(now), random).value();
  const std::string forged =
      IssueNode(KeyOf(5), node, KeyOf(7).public_key(), Year(now), random).value();
  EXPECT_FALSE(VerifyChain(forged + node + ca, root, now).ok());
}

TEST(DocumentsTest, RefusesForeignSignerOtherDomainAndChangedBody) {
  v1::Manifest manifest;
  manifest.set_name("x");
  const v1::SignedDocument document = SignDocument(KeyOf(8), kManifestDomain, manifest);
  EXPECT_EQ(OpenAs<v1::Manifest>(document, kManifestDomain, KeyOf(8).public_key())->name(), "x");
  EXPECT_FALSE(OpenDocument(document, kManifestDomain, KeyOf(9).public_key()).ok());
  EXPECT_FALSE(OpenDocument(document, kRunDomain, KeyOf(8).public_key()).ok());
  v1::SignedDocument changed = document;
  changed.mutable_body()->push_back('\0');
  EXPECT_EQ(OpenDocument(changed, kManifestDomain, KeyOf(8).public_key()).status().code(),
            absl::StatusCode::kPermissionDenied);
}

TEST(DocumentsTest, RevokedOrExpiredDeviceIsRefused) {
  const absl::Time now = absl::Now();
  v1::Manifest manifest;
  manifest.set_federation_id("f");
  manifest.set_enrolment_key(std::string(AsChars(KeyOf(4).public_key())));
  v1::DeviceCredential credential;
  credential.set_federation_id("f");
  credential.set_device_key(std::string(AsChars(KeyOf(5).public_key())));
  credential.set_node_id(std::string(AsChars(IdOf(KeyOf(5).public_key()))));
  credential.set_not_after_unix_s(absl::ToUnixSeconds(now + absl::Hours(1)));
  const v1::SignedDocument document = SignDocument(KeyOf(4), kDeviceDomain, credential);
  EXPECT_TRUE(OpenCredential(document, manifest, now).ok());
  EXPECT_FALSE(OpenCredential(document, manifest, now + absl::Hours(2)).ok());
  manifest.add_revoked_node_ids(credential.node_id());
  EXPECT_FALSE(OpenCredential(document, manifest, now).ok());
}

TEST(InviteTest, RoundTripsAndRefusesDamage) {
  SystemRandom random;
  const absl::Time now = absl::Now();
  const std::string root = IssueRoot(KeyOf(3), "test", Year(now), random).value();
  v1::Invite invite;
  invite.set_federation_id(std::string(AsChars(IdOf(KeyOf(3).public_key()))));
  invite.set_root_certificate_der(PemToDer(root).value());
  invite.set_enrolment_address("localhost:1");
  invite.set_coordinator_address("localhost:2");
  invite.set_token(std::string(16, 't'));
  invite.set_not_after_unix_s(absl::ToUnixSeconds(now + absl::Hours(1)));
  const std::string text = EncodeInvite(invite);
  EXPECT_EQ(DecodeInvite(text, now)->token(), invite.token());
  EXPECT_EQ(DecodeInvite(text, now + absl::Hours(2)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_FALSE(DecodeInvite(text.substr(0, text.size() / 2), now).ok());
  EXPECT_FALSE(DecodeInvite("hello", now).ok());
  invite.set_federation_id(std::string(32, 'x'));
  EXPECT_FALSE(DecodeInvite(EncodeInvite(invite), now).ok());
}

}  // namespace
}  // namespace choir::trust
