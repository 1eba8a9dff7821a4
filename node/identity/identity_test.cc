#include "node/identity/identity.h"

#include "absl/time/clock.h"
#include <gtest/gtest.h>

#include "base/file.h"
#include "node/identity/enrolment.h"
#include "proto/trust/certificates.h"
#include "proto/trust/documents.h"
#include "tests/support/temp_dir.h"

namespace choir::node {
namespace {

using trust::SigningKey;

// A federation's authority and enrolment keys, to make memberships with.
class IdentityTest : public testing::Test {
 protected:
  IdentityTest() {
    root_ = trust::IssueRoot(authority_, "test", validity_, random_).value();
    ca_ = trust::IssueEnrolmentCa(authority_, root_, enrolment_.public_key(), validity_, random_)
              .value();
    EXPECT_TRUE(device_.Save(home_.DeviceKey(), "", random_).ok());
  }

  v1::SignedDocument ManifestOf(uint64_t serial) {
    v1::Manifest manifest;
    manifest.set_federation_id(std::string(AsChars(trust::IdOf(authority_.public_key()))));
    manifest.set_serial(serial);
    manifest.set_coordinator_key(std::string(32, 'c'));
    manifest.set_enrolment_key(std::string(AsChars(enrolment_.public_key())));
    manifest.set_not_after_unix_s(absl::ToUnixSeconds(validity_.not_after));
    return trust::SignDocument(authority_, trust::kManifestDomain, manifest);
  }

  v1::Membership MembershipFor(const SigningKey& device) {
    v1::DeviceCredential credential;
    credential.set_federation_id(std::string(AsChars(trust::IdOf(authority_.public_key()))));
    credential.set_device_key(std::string(AsChars(device.public_key())));
    credential.set_node_id(std::string(AsChars(trust::IdOf(device.public_key()))));
    credential.set_not_after_unix_s(absl::ToUnixSeconds(validity_.not_after));
    v1::Membership membership;
    membership.set_root_pem(root_);
    membership.set_certificate_chain_pem(
        trust::IssueNode(enrolment_, ca_, device.public_key(), validity_, random_).value() + ca_);
    *membership.mutable_device_credential() =
        trust::SignDocument(enrolment_, trust::kDeviceDomain, credential);
    *membership.mutable_manifest() = ManifestOf(1);
    return membership;
  }

  SystemRandom random_;
  absl::Time now_ = absl::Now();
  trust::Validity validity_{now_ - absl::Hours(1), now_ + absl::Hours(24)};
  SigningKey authority_ = SigningKey::Generate(random_);
  SigningKey enrolment_ = SigningKey::Generate(random_);
  SigningKey device_ = SigningKey::Generate(random_);
  std::string root_;
  std::string ca_;
  TempDir dir_;
  NodeHome home_{dir_.path()};
};

TEST_F(IdentityTest, LoadsWhatEnrolmentStored) {
  ASSERT_TRUE(Identity::Create(home_, MembershipFor(device_), now_).ok());
  const absl::StatusOr<Identity> identity = Identity::Load(home_, now_);
  ASSERT_TRUE(identity.ok()) << identity.status();
  EXPECT_EQ(identity->node_id(), AsChars(trust::IdOf(device_.public_key())));
}

TEST_F(IdentityTest, NotEnrolledSaysHow) {
  const absl::Status status = Identity::Load(home_, now_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_NE(status.ToString().find("choir node enrol"), std::string::npos);
}

TEST_F(IdentityTest, ForeignCertificateIsNotStored) {
  const SigningKey other = SigningKey::Generate(random_);
  EXPECT_EQ(Identity::Create(home_, MembershipFor(other), now_).status().code(),
            absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(Identity::Load(home_, now_).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(IdentityTest, ManifestNeverGoesBack) {
  absl::StatusOr<Identity> identity = Identity::Create(home_, MembershipFor(device_), now_);
  ASSERT_TRUE(identity.ok());
  const v1::SignedDocument newer = ManifestOf(3);
  const v1::SignedDocument older = ManifestOf(2);
  ASSERT_TRUE(identity->Update(home_, &newer, nullptr, now_).ok());
  EXPECT_FALSE(identity->Update(home_, &older, nullptr, now_).ok());
  EXPECT_EQ(Identity::Load(home_, now_)->manifest().serial(), 3u);
}

TEST_F(IdentityTest, ManifestOfAnotherEnrolmentKeyNeedsItsCertificates) {
  absl::StatusOr<Identity> identity = Identity::Create(home_, MembershipFor(device_), now_);
  ASSERT_TRUE(identity.ok());
  enrolment_ = SigningKey::Generate(random_);
  ca_ = trust::IssueEnrolmentCa(authority_, root_, enrolment_.public_key(), validity_, random_)
            .value();
  const v1::SignedDocument manifest = ManifestOf(2);
  EXPECT_FALSE(identity->Update(home_, &manifest, nullptr, now_).ok());
  EXPECT_TRUE(Identity::Load(home_, now_).ok()) << "a refused manifest must not lock the node out";
  const v1::Membership fresh = MembershipFor(device_);
  v1::RenewedMembership renewed;
  renewed.set_certificate_chain_pem(fresh.certificate_chain_pem());
  *renewed.mutable_device_credential() = fresh.device_credential();
  EXPECT_TRUE(identity->Update(home_, &manifest, &renewed, now_).ok());
  EXPECT_EQ(Identity::Load(home_, now_)->manifest().serial(), 2u);
}

TEST_F(IdentityTest, DamagedMembershipIsAnError) {
  ASSERT_TRUE(AtomicWriteFile(home_.Membership(), "\xff\xff\xff").ok());
  EXPECT_EQ(Identity::Load(home_, now_).status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(IdentityTest, ExpiredCertificateIsRefused) {
  ASSERT_TRUE(Identity::Create(home_, MembershipFor(device_), now_).ok());
  EXPECT_EQ(Identity::Load(home_, now_ + absl::Hours(48)).status().code(),
            absl::StatusCode::kPermissionDenied);
}

TEST_F(IdentityTest, SecondEnrolmentIsRefusedBeforeAnyCall) {
  ASSERT_TRUE(Identity::Create(home_, MembershipFor(device_), now_).ok());
  EXPECT_EQ(Enrol(home_, "not an invite", "x", now_, random_).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace choir::node
