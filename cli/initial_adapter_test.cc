#include "cli/initial_adapter.h"

#include <cstdio>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "cli/failure.h"
#include "engine/lora/gguf_adapter.h"
#include "engine/lora/peft_adapter.h"
#include "engine/model/peft_base.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_llama_builder.h"

namespace choir::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class InitialAdapterTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string path = dir_.path() + "/base.gguf";
    ASSERT_TRUE(AtomicWriteFile(path, TinyLlamaBuilder().Build()).ok());
    auto model = engine::Model::Open(path);
    ASSERT_TRUE(model.ok()) << model.status();
    model_ = std::make_unique<engine::Model>(*std::move(model));
    engine::LoraConfig config{.rank = 3, .alpha = 6.0f};
    config.modules = *engine::LoraModuleSet::Parse("attn_q,ffn_up");
    own_ = *engine::InitAdapter(config, model_->LoraTargets(), "llama", 9);
    for (engine::LoraPair& pair : own_.pairs) pair.b[0] = 0.5f;
    own_.dropout = 0.25f;
    peft_ = dir_.path() + "/peft";
    ASSERT_TRUE(WritePeftAdapter(own_, PeftBaseOf(*model_), peft_).ok());
  }
  void TearDown() override { std::fclose(sink_); }

  absl::StatusOr<engine::Adapter> From(const std::string& settings) {
    const auto file = ParseRunFile("[run]\nname = \"r\"\nbase_model = \"base.gguf\"\n" + settings,
                                   dir_.path() + "/run.toml");
    if (!file.ok()) return file.status();
    spec_ = file->config.lora();
    return InitialAdapter(*file, *model_, model_->Sha256(), spec_, output_);
  }

  TempDir dir_;
  std::unique_ptr<engine::Model> model_;
  engine::Adapter own_;
  std::string peft_;
  v1::LoraSpec spec_;
  std::FILE* sink_ = std::tmpfile();
  Output output_{sink_, sink_, {}, {}};
};

TEST_F(InitialAdapterTest, PeftFolderIsTakenWithWhatItHolds) {
  const auto adapter = From("initial_adapter = \"peft\"\n");
  ASSERT_TRUE(adapter.ok()) << adapter.status();
  EXPECT_TRUE(SameShape(*adapter, own_));
  EXPECT_EQ(Flatten(*adapter), Flatten(own_));
  EXPECT_EQ(adapter->base_model_sha256, DigestToHex(model_->Sha256()));
  EXPECT_EQ(spec_.rank(), 3u);
  EXPECT_EQ(spec_.alpha(), 6.0f);
  EXPECT_EQ(spec_.dropout(), 0.25f);
  EXPECT_THAT(spec_.modules(), ElementsAre("attn_q", "ffn_up"));
}

TEST_F(InitialAdapterTest, MatchingSettingsAreFineAndDropoutIsTheRunsOwn) {
  const auto adapter = From(
      "initial_adapter = \"peft\"\n[lora]\nrank = 3\nalpha = 6\nmodules = \"attn_q,ffn_up\"\n"
      "dropout = 0\n");
  ASSERT_TRUE(adapter.ok()) << adapter.status();
  EXPECT_EQ(adapter->dropout, 0.0f);
}

TEST_F(InitialAdapterTest, OtherSettingsThanTheAdaptersAreNamed) {
  const absl::Status status =
      From("initial_adapter = \"peft\"\n[lora]\nrank = 8\nmodules = \"attn_q,ffn_up\"\n").status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kUsage);
  EXPECT_THAT(status.ToString(), HasSubstr("has rank 3, alpha 6, modules attn_q,ffn_up"));
  EXPECT_THAT(status.ToString(), HasSubstr("[lora] asks for rank 8, alpha 16"));
  EXPECT_THAT(HintOf(status), HasSubstr("leave rank"));
}

TEST_F(InitialAdapterTest, AdapterOfAnotherShapeIsNamedWithBothShapes) {
  engine::LoraConfig config{.rank = 2, .alpha = 2.0f};
  config.modules = *engine::LoraModuleSet::Parse("attn_q");
  const std::vector<engine::LoraTarget> targets = {{"blk.0.attn_q.weight", 32, 32}};
  const auto other = engine::InitAdapter(config, targets, "llama", 1);
  ASSERT_TRUE(WriteGgufAdapter(*other, dir_.path() + "/other.gguf").ok());
  const absl::Status status = From("initial_adapter = \"other.gguf\"\n").status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kBadInput);
  EXPECT_THAT(status.ToString(),
              HasSubstr("the adapter is for 32 x 32, the base model has 16 x 16"));
}

TEST_F(InitialAdapterTest, MissingAndUselessAdaptersAreRefused) {
  EXPECT_THAT(From("initial_adapter = \"nowhere\"\n").status().ToString(), HasSubstr("nowhere"));
  for (engine::LoraPair& pair : own_.pairs) pair.a.assign(pair.a.size(), 0.0f);
  ASSERT_TRUE(WritePeftAdapter(own_, PeftBaseOf(*model_), peft_).ok());
  EXPECT_THAT(From("initial_adapter = \"peft\"\n").status().ToString(),
              HasSubstr("every A is zero"));
}

TEST_F(InitialAdapterTest, FreshOneIsAsTheSettingsSay) {
  const auto adapter = From("[lora]\nrank = 2\nmodules = \"attn_v\"\ndropout = 0.1\n");
  ASSERT_TRUE(adapter.ok()) << adapter.status();
  EXPECT_EQ(adapter->pairs.size(), 2u);
  EXPECT_EQ(adapter->pairs[0].rank, 2);
  EXPECT_EQ(adapter->dropout, 0.1f);
}

}  // namespace
}  // namespace choir::cli
