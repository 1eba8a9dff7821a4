#include "engine/lora/merge.h"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "engine/gguf/gguf_writer.h"
#include "tests/support/temp_dir.h"

namespace choir::engine {
namespace {

using ::testing::HasSubstr;

constexpr char kTarget[] = "blk.0.attn_q.weight";
constexpr char kOther[] = "blk.0.attn_k.weight";

// Two 2 x 32 tensors, one of them adapted; W[i] = i / 8.
class MergeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (size_t i = 0; i < weights_.size(); ++i) weights_[i] = static_cast<float>(i) / 8;
    adapter_.alpha = 3.0f;
    adapter_.architecture = "llama";
    LoraPair pair{kTarget, 2, 32, 1, std::vector<float>(32, 0.5f), {2.0f, -1.0f}};
    pair.a[7] = 1.0f;
    adapter_.pairs = {pair};
  }

  // The base model, its tensors in the format of this name.
  [[nodiscard]] std::string Base(std::string_view format_name) const {
    const WeightFormat& format = *FindWeightFormat(format_name);
    std::vector<uint8_t> bytes(2 * format.RowBytes(32));
    format.quantize_row(weights_, bytes);
    GgufWriter writer(64);
    writer.SetString("general.architecture", "llama");
    const uint64_t dims[] = {32, 2};
    EXPECT_TRUE(writer.AddTensor(kTarget, format.type_id, dims, bytes).ok());
    EXPECT_TRUE(writer.AddTensor(kOther, format.type_id, dims, bytes).ok());
    return *writer.Serialize();
  }

  // The merged tensor's values.
  [[nodiscard]] std::vector<float> Merge(std::string_view from, const WeightFormat* to) const {
    const std::string base = Base(from);
    const GgufFile file = *GgufFile::Parse(AsBytes(base));
    EXPECT_TRUE(MergeIntoModel(file, adapter_, to, path_).ok());
    const GgufFile merged = *GgufFile::Open(path_);
    EXPECT_EQ(*merged.GetString("general.architecture"), "llama");
    EXPECT_EQ(merged.alignment(), 64u);
    const GgufTensor& untouched = **merged.GetTensor(kOther);
    EXPECT_TRUE(std::equal(untouched.bytes.begin(), untouched.bytes.end(),
                           (*file.GetTensor(kOther))->bytes.begin()));
    const GgufTensor& tensor = **merged.GetTensor(kTarget);
    std::vector<float> values(64);
    FindWeightFormat(tensor.type)->dequantize_row(tensor.bytes, values);
    return values;
  }

  // W + 3 * B A.
  [[nodiscard]] float Wanted(size_t i) const {
    const float a = i % 32 == 7 ? 1.0f : 0.5f;
    return weights_[i] + 3.0f * (i < 32 ? 2.0f : -1.0f) * a;
  }

  TempDir dir_;
  std::string path_ = dir_.path() + "/merged.gguf";
  std::vector<float> weights_ = std::vector<float>(64);
  Adapter adapter_;
};

TEST_F(MergeTest, F32IsExact) {
  const std::vector<float> merged = Merge("F32", nullptr);
  for (size_t i = 0; i < 64; ++i) EXPECT_EQ(merged[i], Wanted(i)) << i;
}

TEST_F(MergeTest, QuantisedTensorsAreRoundedOnce) {
  const std::vector<float> merged = Merge("Q8_0", nullptr);
  // Half a step of the input and half a step of the output: the largest value is 14, over 127.
  for (size_t i = 0; i < 64; ++i) EXPECT_NEAR(merged[i], Wanted(i), 14.0 / 127) << i;
}

TEST_F(MergeTest, AdaptedTensorsTakeTheAskedType) {
  const std::vector<float> merged = Merge("F32", FindWeightFormat("F16"));
  for (size_t i = 0; i < 64; ++i) EXPECT_EQ(merged[i], Wanted(i)) << i;  // all fit into F16
  EXPECT_EQ((*GgufFile::Open(path_)->GetTensor(kTarget))->type, FindWeightFormat("F16")->type_id);
  EXPECT_EQ((*GgufFile::Open(path_)->GetTensor(kOther))->type, FindWeightFormat("F32")->type_id);
}

TEST_F(MergeTest, AForeignTargetIsRefusedAndNothingWritten) {
  const std::string base = Base("F32");
  adapter_.pairs[0].name = "blk.9.attn_q.weight";
  const auto file = GgufFile::Parse(AsBytes(base));
  EXPECT_THAT(MergeIntoModel(*file, adapter_, nullptr, path_).ToString(), HasSubstr("blk.9"));
  EXPECT_FALSE(ReadFile(path_, 1).ok());
}

TEST_F(MergeTest, FormatsThatCannotHoldTheSumAreRefused) {
  const std::string base = Base("F32");
  const auto file = GgufFile::Parse(AsBytes(base));
  EXPECT_THAT(MergeIntoModel(*file, adapter_, FindWeightFormat("TQ2_0"), path_).ToString(),
              HasSubstr("undo the adapter"));
  EXPECT_THAT(MergeIntoModel(*file, adapter_, FindWeightFormat("Q4_K"), path_).ToString(),
              HasSubstr("rows of 32 are no whole blocks of 256"));
  EXPECT_FALSE(ReadFile(path_, 1).ok());
}

Adapter MakeAdapter(std::string_view modules, int rank, float alpha, uint64_t seed) {
  LoraConfig config{.rank = rank, .alpha = alpha};
  config.modules = *LoraModuleSet::Parse(modules);
  const std::vector<LoraTarget> targets = {{"blk.0.attn_q.weight", 3, 2},
                                           {"blk.0.attn_k.weight", 2, 2}};
  Adapter adapter = *InitAdapter(config, targets, "llama", seed);
  for (LoraPair& pair : adapter.pairs) {
    for (size_t i = 0; i < pair.b.size(); ++i) pair.b[i] = static_cast<float>(i + seed);
  }
  return adapter;
}

// scale * B A at (row, col).
double Delta(const Adapter& adapter, std::string_view name, int64_t row, int64_t col) {
  const LoraPair* pair = adapter.Find(name);
  if (pair == nullptr) return 0;
  double sum = 0;
  for (int64_t k = 0; k < pair->rank; ++k) {
    sum += static_cast<double>(pair->b[static_cast<size_t>(row * pair->rank + k)]) *
           static_cast<double>(pair->a[static_cast<size_t>(k * pair->cols + col)]);
  }
  return sum * static_cast<double>(adapter.Scale(*pair));
}

TEST(StackAdaptersTest, DoesWhatAllDoTogether) {
  Adapter x = MakeAdapter("attn_q", 2, 4.0f, 1);
  Adapter y = MakeAdapter("attn_q,attn_k", 3, 3.0f, 2);
  y.pairs[0].alpha = 6.0f;
  const auto both = StackAdapters(std::vector<WeightedAdapter>{{x, 0.5f}, {y, -2.0f}});
  ASSERT_TRUE(both.ok()) << both.status().ToString();
  ASSERT_EQ(both->pairs.size(), 2u);
  EXPECT_EQ(both->pairs[0].rank, 5);
  EXPECT_EQ(both->pairs[1].rank, 3);
  for (const LoraPair& pair : both->pairs) {
    for (int64_t row = 0; row < pair.rows; ++row) {
      for (int64_t col = 0; col < pair.cols; ++col) {
        EXPECT_NEAR(Delta(*both, pair.name, row, col),
                    0.5 * Delta(x, pair.name, row, col) - 2.0 * Delta(y, pair.name, row, col),
                    1e-5);  // f32 products
      }
    }
  }
}

TEST(StackAdaptersTest, OneOfWeightOneStaysAndWeightZeroIsOff) {
  const Adapter x = MakeAdapter("attn_q", 2, 4.0f, 1);
  EXPECT_EQ(StackAdapters(std::vector<WeightedAdapter>{{x, 1.0f}})->alpha, 4.0f);
  const auto off = StackAdapters(std::vector<WeightedAdapter>{{x, 0.0f}});
  EXPECT_EQ(Delta(*off, x.pairs[0].name, 2, 1), 0);
}

TEST(StackAdaptersTest, WhatDoesNotGoTogetherIsRefused) {
  const Adapter x = MakeAdapter("attn_q", 2, 4.0f, 1);
  Adapter other = x;
  other.architecture = "qwen3";
  EXPECT_THAT(StackAdapters(std::vector<WeightedAdapter>{{x, 1}, {other, 1}}).status().ToString(),
              HasSubstr("different architectures"));
  other = x;
  other.pairs[0].rows = 2;
  other.pairs[0].b.resize(4);
  EXPECT_THAT(StackAdapters(std::vector<WeightedAdapter>{{x, 1}, {other, 1}}).status().ToString(),
              HasSubstr("3 x 2 in one and 2 x 2"));
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_FALSE(StackAdapters(std::vector<WeightedAdapter>{{x, infinity}}).ok());
  EXPECT_FALSE(StackAdapters({}).ok());
}

}  // namespace
}  // namespace choir::engine
