#include <gtest/gtest.h>

#include "base/file.h"
#include "node/policy/device_conditions.h"
#include "node/policy/owner_policy.h"
#include "node/policy/privacy_policy.h"
#include "secure-agg/core/abort_reason.h"
#include "tests/support/temp_dir.h"

namespace choir::node {
namespace {

constexpr std::string_view kSmallest = "[data]\nfolder = \"notes\"\n";

OwnerPolicy PolicyOf(const std::string& more) {
  return ParseOwnerPolicy(std::string(kSmallest) + more, "node.toml").value();
}

v1::RunConfig RunOf(uint32_t min_cohort) {
  v1::RunConfig config;
  config.set_run_id("r1");
  config.set_base_model_digest(std::string(32, '\1'));
  config.set_num_values(1000);
  config.mutable_aggregation()->set_min_cohort(min_cohort);
  config.mutable_aggregation()->set_ring_bits(32);
  return config;
}

TEST(OwnerPolicyTest, DefaultsAreCautious) {
  const OwnerPolicy policy = PolicyOf("");
  EXPECT_EQ(policy.min_cohort, 8u);
  EXPECT_TRUE(policy.only_on_power);
  EXPECT_FALSE(AllowsRun(policy, RunOf(8), {}).ok()) << "an unasked owner has not consented";
  EXPECT_TRUE(AllowsRun(policy, RunOf(8), {"r1"}).ok());
}

TEST(OwnerPolicyTest, ShippedExampleHoldsEveryDefault) {
  const auto text = ReadFile("configs/node.toml", 1 << 20);
  ASSERT_TRUE(text.ok()) << text.status();
  const auto example = ParseOwnerPolicy(*text, "configs/node.toml");
  ASSERT_TRUE(example.ok()) << example.status();
  OwnerPolicy defaults;
  defaults.data_folder = "/home/me/notes";
  EXPECT_EQ(*example, defaults);
}

v1::PrivacySpec Noise(const std::string& mechanism, double multiplier) {
  v1::PrivacySpec spec;
  spec.set_mechanism(mechanism);
  spec.set_noise_multiplier(multiplier);
  spec.set_delta(1e-5);
  return spec;
}

TEST(PrivacyPolicyTest, OwnersFloorsHold) {
  const privacy::RdpCurve nothing;
  const auto reason = [&](const std::string& settings, const v1::PrivacySpec& spec) {
    return secagg::ReasonOf(AllowsPrivacy(PolicyOf("[privacy]\n" + settings), spec, nothing));
  };
  const auto too_low = secagg::AbortReason::kPrivacyBelowFloor;
  EXPECT_EQ(reason("", v1::PrivacySpec()), std::nullopt);
  EXPECT_EQ(reason("noise = \"some\"\n", v1::PrivacySpec()), too_low);
  EXPECT_EQ(reason("noise = \"some\"\n", Noise("central-gaussian", 1)), std::nullopt);
  EXPECT_EQ(reason("noise = \"distributed\"\n", Noise("central-gaussian", 1)), too_low);
  EXPECT_EQ(reason("noise = \"distributed\"\n", Noise("skellam", 1)), std::nullopt);
  EXPECT_EQ(reason("min_noise_multiplier = 1.5\n", Noise("skellam", 1)), too_low);
}

TEST(PrivacyPolicyTest, OwnersBudgetIsOverEverythingThatLeft) {
  const OwnerPolicy policy = PolicyOf("[privacy]\nmax_epsilon = 7.0\n");
  const privacy::RdpCurve one = privacy::GaussianRdp(1);  // 4.73 at 1e-5; two of them 7.13
  EXPECT_TRUE(AllowsPrivacy(policy, Noise("skellam", 1), privacy::RdpCurve()).ok());
  const absl::Status refused = AllowsPrivacy(policy, Noise("skellam", 1), one);
  EXPECT_EQ(secagg::ReasonOf(refused), secagg::AbortReason::kPrivacyBudgetExhausted);
  EXPECT_NE(refused.message().find("past its owner's budget of 7"), std::string::npos);
  // Without noise, no budget is enough.
  EXPECT_FALSE(AllowsPrivacy(policy, v1::PrivacySpec(), privacy::RdpCurve()).ok());
  EXPECT_TRUE(AllowsPrivacy(PolicyOf(""), v1::PrivacySpec(), one).ok());
}

TEST(OwnerPolicyTest, MinCohortBelowThreeIsRefused) {
  const auto policy =
      ParseOwnerPolicy(std::string(kSmallest) + "[policy]\nmin_cohort = 2\n", "node.toml");
  EXPECT_NE(policy.status().ToString().find("min_cohort must be at least 3"), std::string::npos);
}

TEST(OwnerPolicyTest, RunAboveTheDevicesRankIsDeclinedUnlessItHasSlices) {
  OwnerPolicy policy = PolicyOf("[policy]\nmax_rank = 4\nconsent = \"auto\"\n");
  v1::RunConfig run = RunOf(8);
  run.mutable_lora()->set_rank(4);
  EXPECT_TRUE(AllowsRun(policy, run, {}).ok());
  run.mutable_lora()->set_rank(8);
  const absl::Status declined = AllowsRun(policy, run, {});
  EXPECT_NE(declined.ToString().find("at most 4 (max_rank)"), std::string::npos) << declined;
  run.mutable_aggregation()->set_slices(true);
  EXPECT_TRUE(AllowsRun(policy, run, {}).ok());
}

TEST(OwnerPolicyTest, MistakesAreNamed) {
  for (const char* text :
       {"[data]\nfolder = 3\n", "[data]\nfolder = \"x\"\n[policy]\nconsentt = \"auto\"\n",
        "[data]\nfolder = \"x\"\n[policy]\nconsent = \"maybe\"\n", "[data\n", "[datta]\n", "",
        "[data]\nfolder = \"x\"\n[engine]\nthreads = -1\n", "data = 1\n"}) {
    EXPECT_EQ(ParseOwnerPolicy(text, "node.toml").status().code(),
              absl::StatusCode::kInvalidArgument)
        << text;
  }
}

TEST(OwnerPolicyTest, SmallCohortForeignModelAndLargeUploadAreRefused) {
  OwnerPolicy policy = PolicyOf("[policy]\nconsent = \"auto\"\nmin_cohort = 4\n");
  EXPECT_TRUE(AllowsRun(policy, RunOf(4), {}).ok());
  EXPECT_FALSE(AllowsRun(policy, RunOf(3), {}).ok());
  policy.allowed_models = {std::string(64, '0')};
  EXPECT_FALSE(AllowsRun(policy, RunOf(4), {}).ok());
  policy.allowed_models.clear();
  policy.max_upload_bytes = 3999;
  EXPECT_FALSE(AllowsRun(policy, RunOf(4), {}).ok());
}

TEST(OwnerPolicyTest, SparseGraphsBelowTheOwnersFloorAreRefused) {
  OwnerPolicy policy = PolicyOf("[policy]\nconsent = \"auto\"\nmin_corrupt_percent = 10\n");
  v1::RunConfig run = RunOf(8);
  v1::AggregationSpec& spec = *run.mutable_aggregation();
  spec.set_graph("auto");
  spec.set_max_cohort(128);
  spec.set_corrupt_percent(5);
  EXPECT_TRUE(AllowsRun(policy, run, {}).ok());
  spec.set_max_cohort(129);
  EXPECT_NE(AllowsRun(policy, run, {}).ToString().find("min_corrupt_percent"), std::string::npos);
  spec.set_corrupt_percent(10);
  EXPECT_TRUE(AllowsRun(policy, run, {}).ok());
}

TEST(OwnerPolicyTest, ConditionsDecideWhen) {
  OwnerPolicy policy = PolicyOf("[policy]\nnetwork_interfaces = [\"wlan0\", \"eth*\"]\n");
  DeviceConditions good;
  good.network_interface = "eth1";
  EXPECT_TRUE(AllowsNow(policy, good).ok());
  DeviceConditions bad = good;
  bad.on_battery = true;
  EXPECT_FALSE(AllowsNow(policy, bad).ok());
  bad = good;
  bad.battery_percent = 5;
  EXPECT_FALSE(AllowsNow(policy, bad).ok());
  bad = good;
  bad.temperature_c = 99;
  EXPECT_FALSE(AllowsNow(policy, bad).ok());
  bad = good;
  bad.network_interface = "wwan0";
  EXPECT_FALSE(AllowsNow(policy, bad).ok());
}

TEST(DeviceConditionsTest, ReadsPowerHeatLoadNetworkAndMemory) {
  const TempDir dir;
  const auto write = [&dir](const std::string& path, std::string_view text) {
    const std::string whole = dir.path() + path;
    ASSERT_TRUE(MakeDirectories(whole.substr(0, whole.rfind('/'))).ok());
    ASSERT_TRUE(AtomicWriteFile(whole, text).ok());
  };
  write("/sys/class/power_supply/BAT0/type", "Battery\n");
  write("/sys/class/power_supply/BAT0/status", "Discharging\n");
  write("/sys/class/power_supply/BAT0/capacity", "42\n");
  write("/sys/class/power_supply/mouse/type", "Battery\n");
  write("/sys/class/power_supply/mouse/scope", "Device\n");
  write("/sys/class/power_supply/mouse/capacity", "3\n");
  write("/sys/class/thermal/thermal_zone0/temp", "51000\n");
  write("/sys/class/thermal/thermal_zone1/temp", "garbage\n");
  write("/proc/loadavg", "1.0 0 0\n");
  write("/proc/net/route", "Iface\tDestination\nlo\t0000007F\nwlan0\t00000000\n");
  write("/proc/meminfo", "MemTotal: 8 kB\nMemAvailable:    4 kB\n");
  const DeviceConditions conditions = ReadDeviceConditions(dir.path());
  EXPECT_TRUE(conditions.on_battery);
  EXPECT_EQ(conditions.battery_percent, 42);
  EXPECT_EQ(conditions.temperature_c, 51);
  EXPECT_GT(conditions.load_per_core, 0);
  EXPECT_EQ(conditions.network_interface, "wlan0");
  EXPECT_EQ(conditions.free_memory_bytes, 4096u);
}

}  // namespace
}  // namespace choir::node
