#include "engine/lora/lora_config.h"

#include <cmath>
#include <limits>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace choir::engine {
namespace {

using ::testing::HasSubstr;

TEST(LoraModuleSetTest, ParseReadsWhatToStringWrites) {
  for (const std::string text :
       {"attn_q", "attn_q,ffn_down", "attn_k,attn_v,ffn_up", "ffn_up,output,token_embd"}) {
    EXPECT_EQ(LoraModuleSet::Parse(text)->ToString(), text);
  }
  EXPECT_EQ(*LoraModuleSet::Parse("all"), LoraModuleSet::All());
  EXPECT_EQ(LoraModuleSet::Parse("attn")->ToString(), "attn_q,attn_k,attn_v,attn_output");
  EXPECT_EQ(LoraModuleSet::Parse("ffn_down,attn_q")->ToString(), "attn_q,ffn_down");
}

TEST(LoraModuleSetTest, UnknownEmptyOrRepeatedNamesAreInvalid) {
  for (const std::string text : {"", "q_proj", "attn_q,", ",attn_q", "attn_q,attn_q", "ATTN_Q"}) {
    EXPECT_EQ(LoraModuleSet::Parse(text).status().code(), absl::StatusCode::kInvalidArgument)
        << text;
  }
  EXPECT_THAT(LoraModuleSet::Parse("q_proj").status().ToString(), HasSubstr("ffn_gate"));
}

TEST(LoraConfigTest, RangesAreChecked) {
  EXPECT_TRUE(LoraConfig{}.Validate().ok());
  EXPECT_FALSE(LoraConfig{.rank = 0}.Validate().ok());
  EXPECT_FALSE(LoraConfig{.rank = kMaxLoraRank + 1}.Validate().ok());
  EXPECT_FALSE(LoraConfig{.alpha = std::nanf("")}.Validate().ok());
  EXPECT_FALSE(LoraConfig{.alpha = std::numeric_limits<float>::infinity()}.Validate().ok());
  EXPECT_FALSE(LoraConfig{.alpha = 0.0f}.Validate().ok());
  EXPECT_FALSE(LoraConfig{.modules = LoraModuleSet()}.Validate().ok());
}

TEST(LoraConfigTest, RsLoraScalesByTheRootOfTheRank) {
  const LoraConfig plain{.rank = 16, .alpha = 8.0f};
  EXPECT_EQ(plain.AdapterAlpha(), 8.0f);
  const LoraConfig rooted{.rank = 16, .alpha = 8.0f, .rslora = true};
  EXPECT_EQ(rooted.AdapterAlpha() / 16.0f, 8.0f / std::sqrt(16.0f));
}

TEST(LoraSiteTest, OnlyWhatCanBeAdaptedIsASite) {
  EXPECT_EQ(ParseLoraSite("output.weight"), (LoraSite{LoraSite::kNoBlock, LoraModule::kOutput}));
  EXPECT_EQ(ParseLoraSite("token_embd.weight"),
            (LoraSite{LoraSite::kNoBlock, LoraModule::kTokenEmbd}));
  EXPECT_EQ(ParseLoraSite("blk.12.ffn_up.weight"), (LoraSite{12, LoraModule::kFfnUp}));
  for (const std::string name :
       {"blk.0.attn_norm.weight", "blk.01.attn_q.weight", "blk.-1.attn_q.weight",
        "blk..attn_q.weight", "blk.0.attn_q", "output_norm.weight", "blk.0.output.weight",
        "blk.weight", "blk.0.weight", "blk.99999999999.attn_q.weight", "xblk.0.attn_q.weight"}) {
    EXPECT_EQ(ParseLoraSite(name), std::nullopt) << name;
  }
}

}  // namespace
}  // namespace choir::engine
