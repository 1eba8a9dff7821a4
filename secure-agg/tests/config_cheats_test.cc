#include <functional>
#include <limits>

#include <gtest/gtest.h>

#include "secure-agg/core/transcript.h"
#include "secure-agg/tests/cohort.h"

// What a node refuses before it has given anything away: configurations. Each cheat has its own
// code.
namespace choir::secagg {
namespace {

struct ConfigCheat {
  const char* name;
  AbortReason reason;
  std::function<void(SessionConfig&)> change;
  bool sign_again = true;
};

class ConfigCheatTest : public ::testing::TestWithParam<ConfigCheat> {};

TEST_P(ConfigCheatTest, IsRefusedWithItsOwnReason) {
  const TestCohort honest(3, TestConfig(), 21);
  SessionConfig config = honest.config;
  GetParam().change(config);
  if (GetParam().sign_again) {
    ASSERT_TRUE(SignConfig(honest.coordinator, config).ok());
  }
  const auto session =
      ClientSession::Start(Encode(config), honest.ContextOf(0), honest.Policy(),
                           *honest.nodes[0].signer, honest.authority, SeedFrom("s", 1));
  EXPECT_EQ(ReasonOf(session.status()), GetParam().reason) << session.status().ToString();
}

INSTANTIATE_TEST_SUITE_P(
    Cheats, ConfigCheatTest,
    ::testing::Values(ConfigCheat{"Unsigned", AbortReason::kBadConfigSignature,
                                  [](SessionConfig& c) { c.signature = {}; }, false},
                      ConfigCheat{"ChangedAfterSigning", AbortReason::kBadConfigSignature,
                                  [](SessionConfig& c) { c.min_cohort = 4; }, false},
                      ConfigCheat{"ReplayedRound", AbortReason::kReplayedRound,
                                  [](SessionConfig& c) { c.round_counter = 11; }},
                      ConfigCheat{"Expired", AbortReason::kExpired,
                                  [](SessionConfig& c) { c.expires_at_ms -= 60'000; }},
                      ConfigCheat{"OtherFederation", AbortReason::kForeignFederation,
                                  [](SessionConfig& c) { c.federation_id = "theirs"; }},
                      ConfigCheat{"OldRound", AbortReason::kForeignFederation,
                                  [](SessionConfig& c) { c.round = 6; }},
                      ConfigCheat{"OtherBase", AbortReason::kBaseMismatch,
                                  [](SessionConfig& c) { c.base_hash[0] ^= 1; }},
                      ConfigCheat{"OtherAdapter", AbortReason::kAdapterMismatch,
                                  [](SessionConfig& c) { c.adapter_hash[0] ^= 1; }},
                      ConfigCheat{"OtherShape", AbortReason::kShapeMismatch,
                                  [](SessionConfig& c) { c.lora_digest[0] ^= 1; }},
                      ConfigCheat{"OtherLength", AbortReason::kShapeMismatch,
                                  [](SessionConfig& c) { c.delta_length += 1; }},
                      ConfigCheat{"CohortBelowMinimum", AbortReason::kCohortBelowMinimum,
                                  [](SessionConfig& c) { c.min_cohort = 2; }},
                      ConfigCheat{"ThresholdLowered", AbortReason::kThresholdLowered,
                                  [](SessionConfig& c) {
                                    c.threshold_rule = static_cast<ThresholdRule>(2);
                                  }},
                      ConfigCheat{"UnknownGenerator", AbortReason::kWeakParameters,
                                  [](SessionConfig& c) { c.prg = static_cast<Prg>(9); }},
                      ConfigCheat{"FewBits", AbortReason::kWeakParameters,
                                  [](SessionConfig& c) { c.value_bits = 4; }},
                      ConfigCheat{"SumWouldWrap", AbortReason::kBadConfig,
                                  [](SessionConfig& c) { c.value_bits = 28; }},
                      ConfigCheat{"OddWords", AbortReason::kBadConfig,
                                  [](SessionConfig& c) { c.word_bits = 31; }},
                      ConfigCheat{"UnknownGraph", AbortReason::kBadConfig,
                                  [](SessionConfig& c) { c.graph = static_cast<GraphKind>(9); }},
                      ConfigCheat{"NoRange", AbortReason::kBadConfig,
                                  [](SessionConfig& c) { c.codec_range = 0; }},
                      ConfigCheat{"ClipIsNaN", AbortReason::kBadConfig,
                                  [](SessionConfig& c) {
                                    c.clip_norm = std::numeric_limits<double>::quiet_NaN();
                                  }},
                      ConfigCheat{"NoWeight", AbortReason::kBadConfig,
                                  [](SessionConfig& c) { c.max_weight = 0; }},
                      ConfigCheat{"TooLargeForTheGraph", AbortReason::kBadConfig,
                                  [](SessionConfig& c) { c.max_cohort = 129; }},
                      ConfigCheat{"UnknownNoise", AbortReason::kBadConfig,
                                  [](SessionConfig& c) {
                                    MakePrivate(c);
                                    c.privacy.mechanism = static_cast<NoiseMechanism>(9);
                                  }},
                      ConfigCheat{"NoiseOfNoSize", AbortReason::kBadConfig,
                                  [](SessionConfig& c) {
                                    MakePrivate(c);
                                    c.privacy.noise_multiplier = 0;
                                  }},
                      ConfigCheat{"CertainDelta", AbortReason::kBadConfig,
                                  [](SessionConfig& c) {
                                    MakePrivate(c);
                                    c.privacy.delta = 1;
                                  }},
                      ConfigCheat{"WeightsBesideTheNoise", AbortReason::kBadConfig,
                                  [](SessionConfig& c) {
                                    MakePrivate(c);
                                    c.max_weight = 100;
                                  }},
                      ConfigCheat{"SlotsBesideTheNoise", AbortReason::kBadConfig,
                                  [](SessionConfig& c) {
                                    MakePrivate(c);
                                    c.extra_slots = 1;
                                  }},
                      ConfigCheat{"GridTooCoarseForTheNoise", AbortReason::kBadConfig,
                                  [](SessionConfig& c) {
                                    MakePrivate(c);
                                    c.word_bits = 16;
                                    c.value_bits = 11;
                                    c.codec_range = 4000;
                                  }}),
    [](const auto& test) { return test.param.name; });

TEST(PolicyTest, CohortsBelowThreeCannotBeAllowed) {
  for (const uint32_t size : {0u, 1u, 2u}) {
    ClientPolicyOptions options;
    options.min_cohort = size;
    EXPECT_EQ(ReasonOf(ClientPolicy::Create(options).status()), AbortReason::kPolicyBelowFloor);
  }
  EXPECT_EQ(ClientPolicy::Create({}).value().options().min_cohort, 8u);
}

TEST(PolicyTest, OwnersNoiseFloorRefusesSessionsWithoutNoise) {
  const TestCohort cohort(3, TestConfig(), 22);
  ClientPolicyOptions options;
  options.min_cohort = 3;
  options.min_noise_multiplier = 0.5;
  const auto session = ClientSession::Start(
      Encode(cohort.config), cohort.ContextOf(0), ClientPolicy::Create(options).value(),
      *cohort.nodes[0].signer, cohort.authority, SeedFrom("s", 1));
  EXPECT_EQ(ReasonOf(session.status()), AbortReason::kPrivacyBelowFloor);
}

TEST(PolicyTest, OwnerMayInsistOnNoiseThatTheNodesAdd) {
  SessionConfig config = TestConfig();
  MakePrivate(config);
  ClientPolicyOptions options;
  options.min_cohort = 3;
  options.distributed_noise_only = true;
  const ClientPolicy policy = ClientPolicy::Create(options).value();
  for (const auto& [mechanism, reason] :
       {std::pair{NoiseMechanism::kDiscreteGaussian, std::optional<AbortReason>()},
        {NoiseMechanism::kCentralGaussian, std::optional(AbortReason::kPrivacyBelowFloor)}}) {
    config.privacy.mechanism = mechanism;
    const TestCohort cohort(3, config, 22);
    const auto session =
        ClientSession::Start(Encode(cohort.config), cohort.ContextOf(0), policy,
                             *cohort.nodes[0].signer, cohort.authority, SeedFrom("s", 1));
    EXPECT_EQ(ReasonOf(session.status()), reason);
  }
}

TEST(PolicyTest, DefaultPolicyRefusesAConfigurationForThree) {
  const TestCohort cohort(3, TestConfig(), 22);
  const auto session = ClientSession::Start(
      Encode(cohort.config), cohort.ContextOf(0), ClientPolicy::Create({}).value(),
      *cohort.nodes[0].signer, cohort.authority, SeedFrom("s", 1));
  EXPECT_EQ(ReasonOf(session.status()), AbortReason::kCohortBelowMinimum);
}

TEST(PolicyTest, GarbageIsNoConfiguration) {
  const TestCohort cohort(3, TestConfig(), 22);
  const std::vector<uint8_t> garbage(300, 1);
  const auto session =
      ClientSession::Start(garbage, cohort.ContextOf(0), cohort.Policy(), *cohort.nodes[0].signer,
                           cohort.authority, SeedFrom("s", 1));
  EXPECT_EQ(ReasonOf(session.status()), AbortReason::kMalformedMessage);
}

}  // namespace
}  // namespace choir::secagg
