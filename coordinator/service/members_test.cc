// Who may call: invites, revocations, and how often.
#include "coordinator/service/members.h"

#include <gtest/gtest.h>

#include "coordinator/service/test_coordinator.h"

namespace choir::coordinator {
namespace {

class MembersTest : public testing::Test, protected TestCoordinator {};

TEST_F(MembersTest, InviteServesOneDeviceOnce) {
  const std::string token = Token();
  const std::string id = loaded_->manifest.federation_id();
  const TestNode one(0, id, random_);
  const TestNode two(1, id, random_);
  Members& members = coordinator_->members();
  EXPECT_TRUE(members.Enrol(one.EnrolRequest(token)).ok());
  EXPECT_TRUE(members.Enrol(one.EnrolRequest(token)).ok());
  EXPECT_EQ(members.Enrol(two.EnrolRequest(token)).status().code(),
            absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(members.Enrol(two.EnrolRequest(std::string(16, 'x'))).status().code(),
            absl::StatusCode::kPermissionDenied);
  v1::EnrolRequest stolen = two.EnrolRequest(Token());
  stolen.set_device_key(one.EnrolRequest(token).device_key());
  EXPECT_EQ(members.Enrol(stolen).status().code(), absl::StatusCode::kInvalidArgument);
  clock_.now += absl::Hours(2);
  EXPECT_EQ(members.Enrol(one.EnrolRequest(token)).status().code(),
            absl::StatusCode::kPermissionDenied);
}

TEST_F(MembersTest, RevokedNodeIsRefusedAndAManifestNeverGoesBack) {
  AddNodes(1);
  Members& members = coordinator_->members();
  EXPECT_TRUE(members.Admit(nodes_[0]->id()).ok());
  ASSERT_TRUE(members.PublishManifest(federation_.ManifestRevoking(nodes_[0]->id(), 2)).ok());
  EXPECT_EQ(members.Admit(nodes_[0]->id()).code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(members.PublishManifest(federation_.ManifestRevoking("", 2)).code(),
            absl::StatusCode::kFailedPrecondition);
  Restart();
  EXPECT_EQ(coordinator_->members().Admit(nodes_[0]->id()).code(),
            absl::StatusCode::kPermissionDenied);
}

TEST_F(MembersTest, NodeThatCallsTooOftenIsSlowedDown) {
  AddNodes(1);
  Members& members = coordinator_->members();
  int refused = 0;
  for (int i = 0; i < 300; ++i) refused += members.Admit(nodes_[0]->id()).ok() ? 0 : 1;
  EXPECT_GT(refused, 0);
  clock_.now += absl::Seconds(1);
  EXPECT_TRUE(members.Admit(nodes_[0]->id()).ok());
}

}  // namespace
}  // namespace choir::coordinator
