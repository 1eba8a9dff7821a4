#include "coordinator/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"

namespace choir::coordinator {
namespace {

using testing::HasSubstr;

std::string Refused(std::string_view text) {
  const absl::Status status = ParseConfig(text, "c.toml").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  return std::string(status.message());
}

TEST(CoordinatorConfigTest, ShippedExampleParses) {
  const auto text = ReadFile("configs/coordinator.toml", 1 << 20);
  ASSERT_TRUE(text.ok()) << text.status();
  const auto config = ParseConfig(*text, "configs/coordinator.toml");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->server.data, "/var/lib/choir");
  EXPECT_EQ(config->server.enrol_listen, "0.0.0.0:7434");
  // What it shows are the defaults.
  EXPECT_EQ(config->server.keep_versions, ServerOptions().keep_versions);
  EXPECT_EQ(config->server.unused_blob_hours, ServerOptions().unused_blob_hours);
  EXPECT_EQ(config->server.handshake_s, ServerOptions().handshake_s);
}

TEST(CoordinatorConfigTest, EmptyKeepsTheDefaults) {
  EXPECT_EQ(ParseConfig("", "c.toml")->server.listen, ServerOptions().listen);
}

TEST(CoordinatorConfigTest, ErrorsNameTheLine) {
  EXPECT_THAT(Refused("data = \"x\"\nlisten = "), HasSubstr("c.toml:2"));
  EXPECT_THAT(Refused("\nlissten = \"x\""), HasSubstr("c.toml:2: there is no setting \"lissten\""));
  EXPECT_THAT(Refused("data = 7"), HasSubstr("must be a text"));
  for (const char* text : {"unused_blob_hours = 0", "unused_blob_hours = 87601",
                           "unused_blob_hours = \"7\"", "unused_blob_hours = 1.5"}) {
    EXPECT_THAT(Refused(text),
                HasSubstr("unused_blob_hours must be a whole number from 1 to 87600"));
  }
  EXPECT_THAT(Refused("handshake_s = 0"),
              HasSubstr("handshake_s must be a whole number from 1 to 600"));
  EXPECT_THAT(Refused("keep_versions = -1"), HasSubstr("from 0 to 1000000"));
}

}  // namespace
}  // namespace choir::coordinator
