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
}

TEST(CoordinatorConfigTest, EmptyKeepsTheDefaults) {
  EXPECT_EQ(ParseConfig("", "c.toml")->server.listen, ServerOptions().listen);
}

TEST(CoordinatorConfigTest, ErrorsNameTheLine) {
  EXPECT_THAT(Refused("data = \"x\"\nlisten = "), HasSubstr("c.toml:2"));
  EXPECT_THAT(Refused("\nlissten = \"x\""), HasSubstr("c.toml:2: there is no setting \"lissten\""));
  EXPECT_THAT(Refused("data = 7"), HasSubstr("must be a text"));
}

}  // namespace
}  // namespace choir::coordinator
