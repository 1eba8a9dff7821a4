#include "proto/trust/authority.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "proto/trust/certificates.h"
#include "proto/trust/documents.h"
#include "proto/trust/founding.h"
#include "proto/trust/privacy_terms.h"
#include "tests/support/temp_dir.h"

namespace choir::trust {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);
const std::string kA(32, 'a');
const std::string kB(32, 'b');

class AuthorityTest : public testing::Test {
 protected:
  AuthorityTest() {
    FoundingOptions options;
    options.name = "test";
    options.authority_dir = dir_.path() + "/authority";
    options.coordinator_dir = dir_.path() + "/coordinator";
    options.operator_dir = dir_.path() + "/operator";
    options.operator_name = "ada";
    options.passphrase = "open sesame";
    options.address = "localhost:1";
    EXPECT_TRUE(FoundFederation(options, kNow, random_).ok());
  }
  Authority Open() { return Authority::Open(dir_.path() + "/authority", "open sesame").value(); }
  std::string Read(const std::string& name) {
    return ReadFile(dir_.path() + "/" + name, 1 << 20).value();
  }
  TempDir dir_;
  SystemRandom random_;
};

TEST_F(AuthorityTest, ManifestsFollowEachOtherAndVerify) {
  Authority authority = Open();
  const PublicKey key = ParseCertificate(authority.root_pem())->public_key;
  ManifestEdit edit;
  edit.min_cohort = 5;
  edit.revoke = {kA};
  edit.allow_models = {kB};
  const auto next = NextManifest(authority.manifest(), edit, kNow);
  ASSERT_TRUE(next.ok()) << next.status();
  const auto document = authority.Sign(*next);
  ASSERT_TRUE(document.ok()) << document.status();
  const auto opened = OpenManifest(*document, key, kNow);
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_EQ(opened->serial(), 2u);
  EXPECT_EQ(opened->min_cohort(), 5u);
  EXPECT_THAT(opened->revoked_node_ids(), ElementsAre(kA));
  EXPECT_THAT(opened->base_model_digests(), ElementsAre(kB));
  // It is remembered: the next one is the third.
  EXPECT_EQ(Open().manifest().serial(), 2u);
  EXPECT_EQ(authority.Sign(*next).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(AuthorityTest, PrivacyFloorIsRaisedAndTakenBack) {
  const v1::Manifest last = Open().manifest();
  ManifestEdit edit;
  edit.privacy = {.distributed = true, .min_noise_multiplier = 0.5, .max_epsilon = 8};
  const auto raised = NextManifest(last, edit, kNow);
  ASSERT_TRUE(raised.ok()) << raised.status();
  EXPECT_TRUE(raised->privacy().distributed());
  EXPECT_EQ(raised->privacy().min_noise_multiplier(), 0.5);
  EXPECT_EQ(raised->privacy().max_epsilon(), 8);
  EXPECT_FALSE(MeetsFloor({}, raised->privacy()).ok());
  // What is not named stays.
  edit.privacy = {.distributed = false, .max_epsilon = 0};
  const auto lowered = NextManifest(*raised, edit, kNow);
  ASSERT_TRUE(lowered.ok()) << lowered.status();
  EXPECT_FALSE(lowered->privacy().distributed());
  EXPECT_EQ(lowered->privacy().min_noise_multiplier(), 0.5);
  EXPECT_EQ(lowered->privacy().max_epsilon(), 0);
}

TEST_F(AuthorityTest, EditsThatMakeNoSenseAreRefused) {
  const v1::Manifest last = Open().manifest();
  const auto refused = [&](ManifestEdit edit) {
    return NextManifest(last, edit, kNow).status().ToString();
  };
  EXPECT_THAT(refused({.min_cohort = 2}), HasSubstr("at least 3"));
  EXPECT_THAT(refused({.revoke = {kA}, .reinstate = {kA}}), HasSubstr("both"));
  EXPECT_THAT(refused({.reinstate = {kA}}), HasSubstr("not in the manifest"));
  EXPECT_THAT(refused({.revoke = {"short"}}), HasSubstr("5 bytes"));
  EXPECT_THAT(refused({.not_after = kNow}), HasSubstr("past"));
  EXPECT_THAT(refused({.privacy = {.min_noise_multiplier = -1}}), HasSubstr("multiplier is -1"));
  EXPECT_THAT(refused({.privacy = {.max_epsilon = std::nan("")}}), HasSubstr("epsilon is nan"));
  EXPECT_THAT(refused({.privacy = {.max_delta = 1}}), HasSubstr("delta is 1"));
  v1::Manifest one = last;
  one.add_base_model_digests(kA);
  const auto none = NextManifest(one, {.forbid_models = {kA}}, kNow);
  EXPECT_THAT(none.status().ToString(), HasSubstr("allows all"));
  EXPECT_THAT(NextManifest(one, {.any_base_model = true}, kNow)->base_model_digests(), IsEmpty());
}

TEST_F(AuthorityTest, RenewedCertificatesAreOfTheSameKeysAndVerifyLater) {
  const Authority authority = Open();
  const absl::Time later = kNow + absl::Hours(24 * 700);
  const absl::Time end = later + absl::Hours(24 * 700);
  const PublicKey tls = ParseCertificate(Read("coordinator/tls.pem"))->public_key;
  ASSERT_TRUE(authority.RenewCoordinator(dir_.path() + "/coordinator", later, end, random_).ok());
  ASSERT_TRUE(authority.RenewOperator(dir_.path() + "/operator", later, end, random_).ok());
  EXPECT_EQ(ParseCertificate(Read("coordinator/tls.pem"))->public_key, tls);
  EXPECT_EQ(ParseCertificate(Read("operator/operator.pem"))->common_name, "operator:ada");
  const absl::Time late = end - absl::Hours(1);
  for (const char* name :
       {"coordinator/tls.pem", "coordinator/enrolment_ca.pem", "operator/operator.pem"}) {
    EXPECT_TRUE(VerifyChain(Read(name), Read("coordinator/root.pem"), late).ok()) << name;
  }
}

TEST_F(AuthorityTest, AnotherAuthoritysFoldersAreRefused) {
  EXPECT_EQ(Authority::Open(dir_.path() + "/authority", "wrong").status().code(),
            absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(Authority::Open(dir_.path() + "/nothing", "").status().code(),
            absl::StatusCode::kNotFound);
  FoundingOptions options;
  options.name = "other";
  options.authority_dir = dir_.path() + "/authority2";
  options.coordinator_dir = dir_.path() + "/coordinator2";
  options.operator_dir = dir_.path() + "/operator2";
  ASSERT_TRUE(FoundFederation(options, kNow, random_).ok());
  EXPECT_EQ(
      Open()
          .RenewCoordinator(dir_.path() + "/coordinator2", kNow, kNow + absl::Hours(1), random_)
          .code(),
      absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(
      AtomicWriteFile(dir_.path() + "/authority2/root.pem", Read("authority/root.pem")).ok());
  EXPECT_THAT(Authority::Open(dir_.path() + "/authority2", "").status().ToString(),
              HasSubstr("two folders mixed"));
}

}  // namespace
}  // namespace choir::trust
