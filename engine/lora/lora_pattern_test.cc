#include "engine/lora/lora_pattern.h"

#include <cmath>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace choir::engine {
namespace {

using ::testing::HasSubstr;

const std::vector<LoraTarget> kTargets = {{"blk.0.attn_q.weight", 6, 4},
                                          {"blk.0.ffn_up.weight", 8, 4},
                                          {"blk.1.attn_q.weight", 6, 4},
                                          {"blk.1.ffn_up.weight", 8, 4}};

LoraConfig Config() {
  LoraConfig config{.rank = 4, .alpha = 8.0f};
  config.modules = *LoraModuleSet::Parse("attn_q,ffn_up");
  return config;
}

TEST(LoraPatternTest, ModulesBlocksAndBothMatchFirstEntryFirst) {
  const auto pattern = LoraPattern::Parse("blk.0.attn_q=2,blk.0=3,attn_q=1.5");
  ASSERT_TRUE(pattern.ok()) << pattern.status().ToString();
  EXPECT_EQ(pattern->Find("blk.0.attn_q.weight"), 2);
  EXPECT_EQ(pattern->Find("blk.0.ffn_up.weight"), 3);
  EXPECT_EQ(pattern->Find("blk.1.attn_q.weight"), 1.5);
  EXPECT_EQ(pattern->Find("blk.1.ffn_up.weight"), std::nullopt);
  EXPECT_EQ(pattern->Find("output.weight"), std::nullopt);
  EXPECT_TRUE(LoraPattern::Parse("")->empty());
}

TEST(LoraPatternTest, WhatIsNoEntryIsRefused) {
  for (const std::string text :
       {"attn_q", "attn_q=", "attn_q=x", "attn_q=4x", "attn_q=0", "attn_q=-1", "attn_q=inf", "=4",
        "q_proj=4", "blk.=4", "blk.x=4", "blk.01=4", "blk.0.=4", "attn_q=4,", ",attn_q=4"}) {
    EXPECT_EQ(LoraPattern::Parse(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

TEST(LoraPatternTest, RanksAndAlphasAreThoseOfTheirLayers) {
  const auto adapter = InitAdapter(Config(), *LoraPattern::Parse("attn_q=2"),
                                   *LoraPattern::Parse("blk.1=4"), kTargets, "llama", 1);
  ASSERT_TRUE(adapter.ok()) << adapter.status().ToString();
  const float scales[] = {8.0f / 2, 8.0f / 4, 4.0f / 2, 4.0f / 4};
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(adapter->pairs[i].rank, i % 2 == 0 ? 2 : 4) << i;
    EXPECT_EQ(adapter->Scale(adapter->pairs[i]), scales[i]) << i;
  }
}

TEST(LoraPatternTest, RsloraTakesTheRootOfEachRank) {
  LoraConfig config = Config();
  config.rslora = true;
  const auto adapter =
      InitAdapter(config, *LoraPattern::Parse("attn_q=9"), {}, kTargets, "llama", 1);
  ASSERT_TRUE(adapter.ok());
  EXPECT_FLOAT_EQ(adapter->Scale(adapter->pairs[0]), 8.0f / 3);
  EXPECT_FLOAT_EQ(adapter->Scale(adapter->pairs[1]), 8.0f / 2);
}

TEST(LoraPatternTest, WithoutPatternsItIsThePlainAdapter) {
  const auto plain = InitAdapter(Config(), kTargets, "llama", 7);
  const auto same = InitAdapter(Config(), {}, {}, kTargets, "llama", 7);
  ASSERT_TRUE(plain.ok() && same.ok());
  EXPECT_EQ(Flatten(*plain), Flatten(*same));
}

TEST(LoraPatternTest, EntriesWithoutALayerAndBrokenRanksAreRefused) {
  const auto unused =
      InitAdapter(Config(), *LoraPattern::Parse("blk.2=4"), {}, kTargets, "llama", 1);
  EXPECT_THAT(unused.status().ToString(), HasSubstr("blk.2=4 matches none"));
  for (const std::string text : {"attn_q=1.5", "attn_q=4097"}) {
    const auto rank = InitAdapter(Config(), *LoraPattern::Parse(text), {}, kTargets, "llama", 1);
    EXPECT_THAT(rank.status().ToString(), HasSubstr("no whole number of 1 to 4096")) << text;
  }
}

}  // namespace
}  // namespace choir::engine
