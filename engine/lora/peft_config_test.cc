#include "engine/lora/peft_config.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "tests/support/test_data.h"
#include <nlohmann/json.hpp>

namespace choir::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(PeftConfigTest, RealConfigurationsAreRead) {
  CHOIR_TEST_DATA_OR_SKIP(data);
  const std::string folder = data + "/lora/real_examples/";
  const auto first = ParsePeftConfig(*ReadFile(folder + "GhostCoder.adapter_config.json", 1 << 20));
  ASSERT_TRUE(first.ok()) << first.status().ToString();
  EXPECT_EQ(first->rank, 16);
  EXPECT_EQ(first->alpha, 16);
  EXPECT_FALSE(first->rslora);
  EXPECT_EQ(first->target_modules.size(), 7u);
  EXPECT_EQ(first->base_model, "unsloth/qwen2.5-7b-instruct-bnb-4bit");
  const auto second =
      ParsePeftConfig(*ReadFile(folder + "Qwen3-Writter-Model.adapter_config.json", 1 << 20));
  ASSERT_TRUE(second.ok()) << second.status().ToString();
  EXPECT_EQ(second->rank, 32);
}

TEST(PeftConfigTest, WrittenWithTheFieldsOfTheRealOnes) {
  CHOIR_TEST_DATA_OR_SKIP(data);
  const auto real = nlohmann::json::parse(
      *ReadFile(data + "/lora/real_examples/GhostCoder.adapter_config.json", 1 << 20));
  PeftConfig config;
  config.rank = 16;
  config.alpha = 16;
  config.base_model = "unsloth/qwen2.5-7b-instruct-bnb-4bit";
  config.target_modules = real["target_modules"].get<std::vector<std::string>>();
  EXPECT_EQ(nlohmann::json::parse(SerializePeftConfig(config)), real);
}

TEST(PeftConfigTest, PatternsApplyToNamesAndEndings) {
  const auto config = ParsePeftConfig(R"({"peft_type": "LORA", "r": 8, "lora_alpha": 16,
      "rank_pattern": {"layers.1.self_attn.q_proj": 2, "q_proj": 4, "model\\.layers\\.0\\.mlp": 6},
      "alpha_pattern": {"proj": 1, "self_attn.k_proj": 0.5}})");
  ASSERT_TRUE(config.ok()) << config.status().ToString();
  EXPECT_EQ(config->RankOf("model.layers.1.self_attn.q_proj"), 2);
  EXPECT_EQ(config->RankOf("model.layers.11.self_attn.q_proj"), 4);
  EXPECT_EQ(config->RankOf("model.layers.1.self_attn.k_proj"), 8);
  EXPECT_EQ(config->RankOf("model.layers.0.mlp"), 6);
  EXPECT_EQ(config->AlphaOf("model.layers.1.self_attn.k_proj"), 0.5);
  EXPECT_EQ(config->AlphaOf("model.layers.1.self_attn.q_proj"), 16);
}

TEST(PeftConfigTest, PatternsAreWrittenAndReadBack) {
  PeftConfig config;
  config.rslora = true;
  config.dropout = 0.05;
  config.alpha = 22.627416610717773;
  config.rank_pattern = {{"model.layers.1.self_attn.q_proj", 2}};
  config.alpha_pattern = {{"model.layers.1.self_attn.q_proj", 4.5}};
  const auto back = ParsePeftConfig(SerializePeftConfig(config));
  ASSERT_TRUE(back.ok()) << back.status().ToString();
  EXPECT_TRUE(back->rslora);
  EXPECT_EQ(back->dropout, 0.05);
  EXPECT_EQ(back->alpha, config.alpha);
  EXPECT_THAT(back->rank_pattern, ElementsAre(config.rank_pattern[0]));
  EXPECT_THAT(back->alpha_pattern, ElementsAre(config.alpha_pattern[0]));
}

struct BadConfig {
  const char* name;
  const char* key;
  const char* value;
  absl::StatusCode code;
};

class BadPeftConfigTest : public ::testing::TestWithParam<BadConfig> {};

TEST_P(BadPeftConfigTest, IsRefusedByItsKey) {
  nlohmann::json json = {{"peft_type", "LORA"}, {"r", 8}, {"lora_alpha", 16}};
  ASSERT_TRUE(ParsePeftConfig(json.dump()).ok());
  json[GetParam().key] = nlohmann::json::parse(GetParam().value);
  const absl::Status status = ParsePeftConfig(json.dump()).status();
  EXPECT_EQ(status.code(), GetParam().code) << status.ToString();
  EXPECT_THAT(status.ToString(), HasSubstr(GetParam().key));
}

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kUnimplemented = absl::StatusCode::kUnimplemented;

INSTANTIATE_TEST_SUITE_P(
    All, BadPeftConfigTest,
    ::testing::Values(
        BadConfig{"OtherType", "peft_type", R"("IA3")", kInvalid},
        BadConfig{"RankZero", "r", "0", kInvalid}, BadConfig{"RankText", "r", R"("8")", kInvalid},
        BadConfig{"RankFraction", "r", "1.5", kInvalid},
        BadConfig{"RankHuge", "r", "4097", kInvalid},
        BadConfig{"AlphaZero", "lora_alpha", "0", kInvalid},
        BadConfig{"AlphaNull", "lora_alpha", "null", kInvalid},
        BadConfig{"DropoutText", "lora_dropout", R"("0.1")", kInvalid},
        BadConfig{"DropoutLarge", "lora_dropout", "1.5", kInvalid},
        BadConfig{"RsloraText", "use_rslora", R"("yes")", kInvalid},
        BadConfig{"PatternList", "rank_pattern", "[1]", kInvalid},
        BadConfig{"PatternRankZero", "rank_pattern", R"({"q_proj": 0})", kInvalid},
        BadConfig{"PatternExpression", "alpha_pattern", R"({".*(q|k)_proj": 4})", kUnimplemented},
        BadConfig{"TargetNumbers", "target_modules", "[1]", kInvalid},
        BadConfig{"Dora", "use_dora", "true", kUnimplemented},
        BadConfig{"Bias", "bias", R"("all")", kUnimplemented},
        BadConfig{"LoraBias", "lora_bias", "true", kUnimplemented},
        BadConfig{"Transposed", "fan_in_fan_out", "true", kUnimplemented},
        BadConfig{"WholeModules", "modules_to_save", R"(["lm_head"])", kUnimplemented},
        BadConfig{"Pissa", "init_lora_weights", R"("pissa_niter_16")", kUnimplemented}),
    [](const auto& test) { return std::string(test.param.name); });

TEST(PeftConfigTest, WhatIsNoObjectIsRefused) {
  for (const char* text : {"", "[]", "null", "{", "\xff"}) {
    EXPECT_EQ(ParsePeftConfig(text).status().code(), kInvalid) << text;
  }
}

}  // namespace
}  // namespace choir::engine
