// What becomes of each kind of tensor and key, and the stored ternary model's way through the
// formats.

#include "engine/convert/quantize_model.h"

#include <cmath>
#include <cstring>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "base/random.h"
#include "engine/gguf/gguf_writer.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_data.h"

namespace choir::engine {
namespace {

using ::testing::HasSubstr;

std::vector<float> Gaussian(size_t count, uint64_t seed) {
  SeededRng rng(seed);
  std::vector<float> values(count);
  for (float& value : values) {
    double sum = -6;
    for (int i = 0; i < 12; ++i) sum += rng.NextUnit();
    value = static_cast<float>(sum);
  }
  return values;
}

class QuantizeModelTest : public ::testing::Test {
 protected:
  [[nodiscard]] std::string Path(const std::string& name) const {
    return temp_.path() + "/" + name;
  }

  // Matrices of 256 and 40 columns, a vector, a table; written to "in.gguf".
  GgufFile Model() {
    GgufWriter writer;
    writer.SetString("general.architecture", "llama");
    writer.SetU32("general.file_type", 0);
    writer.SetStringArray("tokenizer.ggml.tokens", std::vector<std::string>{"a", "b"});
    EXPECT_TRUE(writer.AddF32("token_embd.weight", Dims(256, 5), wide_).ok());
    EXPECT_TRUE(writer.AddF32("blk.0.attn_output.weight", Dims(256, 5), wide_).ok());
    EXPECT_TRUE(writer.AddF32("blk.0.ffn_down.weight", Dims(40, 32), narrow_).ok());
    EXPECT_TRUE(writer.AddF32("output_norm.weight", std::vector<uint64_t>{256}, norm_).ok());
    EXPECT_TRUE(writer.AddF32("output.weight", Dims(256, 5), wide_).ok());
    return Written(writer);
  }

  GgufFile Written(const GgufWriter& writer) {
    EXPECT_TRUE(writer.WriteFile(Path("in.gguf")).ok());
    auto file = GgufFile::Open(Path("in.gguf"));
    EXPECT_TRUE(file.ok()) << file.status();
    return *std::move(file);
  }

  static std::vector<uint64_t> Dims(uint64_t cols, uint64_t rows) { return {cols, rows}; }

  absl::StatusOr<QuantizeReport> Quantize(const GgufFile& in, const std::string& name,
                                          QuantizeOptions options) const {
    return QuantizeModel(in, Path(name), options, nullptr);
  }

  TempDir temp_;
  std::vector<float> wide_ = Gaussian(256 * 5, 1);
  std::vector<float> narrow_ = Gaussian(40 * 32, 2);
  std::vector<float> norm_ = Gaussian(256, 3);
};

TEST_F(QuantizeModelTest, EachTensorGetsTheTypeThatSuitsIt) {
  const GgufFile in = Model();
  const auto report = Quantize(in, "out.gguf", {.format = &kQ4_KFormat, .keep = {"output"}});
  ASSERT_TRUE(report.ok()) << report.status();
  const auto out = GgufFile::Open(Path("out.gguf"));
  ASSERT_TRUE(out.ok()) << out.status();
  const auto type = [&](const char* name) { return TensorTypeName(out->FindTensor(name)->type); };
  EXPECT_EQ(type("token_embd.weight"), "Q4_K");
  EXPECT_EQ(type("blk.0.attn_output.weight"), "Q4_K");
  EXPECT_EQ(type("blk.0.ffn_down.weight"), "F16");
  EXPECT_EQ(type("output_norm.weight"), "F32");
  EXPECT_EQ(type("output.weight"), "F32");
  EXPECT_EQ(report->tensors[2].reason, QuantizeReason::kRowLength);
  EXPECT_EQ(report->tensors[3].reason, QuantizeReason::kVector);
  EXPECT_EQ(report->tensors[4].reason, QuantizeReason::kAsked);
  EXPECT_EQ(report->from_bytes, (3 * 1280 + 1280 + 256) * 4);
  EXPECT_EQ(report->to_bytes, 2 * 5 * 144 + 1280 * 2 + 256 * 4 + 1280 * 4);
  EXPECT_EQ(out->GetU32("general.file_type").value_or(99), 14);
  EXPECT_EQ(out->GetU32("general.quantization_version").value_or(0), 2);
  EXPECT_EQ(out->GetStringArray("tokenizer.ggml.tokens")->size(), 2);
  // 4.5 bits a weight of Gaussian values: the stored reference has 7.5 %.
  EXPECT_NEAR(report->tensors[0].relative_error, 0.072, 0.01);
}

TEST_F(QuantizeModelTest, ThreadsChangeNoByte) {
  const GgufFile in = Model();
  ASSERT_TRUE(Quantize(in, "one.gguf", {.format = &kQ5_KFormat, .threads = 1}).ok());
  ASSERT_TRUE(Quantize(in, "three.gguf", {.format = &kQ5_KFormat, .threads = 3}).ok());
  EXPECT_EQ(*ReadFile(Path("one.gguf"), 1 << 20), *ReadFile(Path("three.gguf"), 1 << 20));
}

TEST_F(QuantizeModelTest, EveryWritableFormatGivesAFileThatIsReadBack) {
  const GgufFile in = Model();
  for (const WeightFormat* format : AllWeightFormats()) {
    if (format->quantize_row == nullptr) continue;
    const auto report = Quantize(in, "out.gguf", {.format = format});
    ASSERT_TRUE(report.ok()) << format->name << report.status();
    const auto out = GgufFile::Open(Path("out.gguf"));
    ASSERT_TRUE(out.ok()) << format->name << out.status();
    EXPECT_EQ(out->GetU32("general.file_type").value_or(99), format->file_type);
    for (size_t i = 0; i < report->tensors.size(); ++i) {
      EXPECT_EQ(report->tensors[i].to_bytes, out->tensors()[i].bytes.size()) << format->name;
    }
  }
}

TEST_F(QuantizeModelTest, TernaryFormatsLeaveOtherTensorsAlone) {
  const GgufFile in = Model();
  const auto report = Quantize(in, "out.gguf", {.format = &kTQ1_0Format});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->tensors[0].reason, QuantizeReason::kNotTernary);
  EXPECT_EQ(report->tensors[0].to, "F32");
}

TEST_F(QuantizeModelTest, TheStoredTernaryModelGoesThroughTheFormatsWithoutLoss) {
  CHOIR_TEST_DATA_OR_SKIP(data);
  const auto in = GgufFile::Open(data + "/models/bitllama3M-f16.gguf");
  ASSERT_TRUE(in.ok()) << in.status();
  for (const WeightFormat* format : {&kTQ1_0Format, &kTQ2_0Format}) {
    const auto report = Quantize(*in, "ternary.gguf", {.format = format});
    ASSERT_TRUE(report.ok()) << report.status();
    size_t converted = 0;
    for (const QuantizedTensor& tensor : report->tensors) {
      EXPECT_EQ(tensor.relative_error, 0.0) << tensor.name;
      if (tensor.reason == QuantizeReason::kConverted) ++converted;
    }
    EXPECT_EQ(converted, 8 * 7);  // all projections of its eight blocks
  }
}

TEST_F(QuantizeModelTest, WhatHasTheTypeAlreadyIsCopied) {
  const GgufFile in = Model();
  ASSERT_TRUE(Quantize(in, "once.gguf", {.format = &kQ6_KFormat}).ok());
  const auto once = GgufFile::Open(Path("once.gguf"));
  ASSERT_TRUE(once.ok());
  const auto report = Quantize(*once, "twice.gguf", {.format = &kQ6_KFormat});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->tensors[0].reason, QuantizeReason::kSameFormat);
  EXPECT_EQ(*ReadFile(Path("once.gguf"), 1 << 20), *ReadFile(Path("twice.gguf"), 1 << 20));
}

TEST_F(QuantizeModelTest, ValuesThatAreNotFiniteAreDataLossAndLeaveNoFile) {
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity(), 1e30f}) {
    for (const WeightFormat* format : {&kQ4_0Format, &kQ4_KFormat, &kQ3_KFormat, &kF16Format}) {
      wide_[300] = bad;
      const GgufFile in = Model();
      const auto report = Quantize(in, "out.gguf", {.format = format});
      EXPECT_EQ(report.status().code(), absl::StatusCode::kDataLoss) << format->name << bad;
      EXPECT_THAT(std::string(report.status().message()), HasSubstr("token_embd.weight"));
      EXPECT_FALSE(ReadFile(Path("out.gguf"), 1 << 20).ok());
    }
  }
}

TEST_F(QuantizeModelTest, AKeepThatNamesNothingIsInvalid) {
  const GgufFile in = Model();
  const auto report = Quantize(in, "out.gguf", {.format = &kQ8_0Format, .keep = {"attn"}});
  EXPECT_EQ(report.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(report.status().message()), HasSubstr("\"attn\""));
}

TEST_F(QuantizeModelTest, AnAdapterIsInvalid) {
  GgufWriter writer;
  writer.SetString("general.type", "adapter");
  ASSERT_TRUE(writer.AddF32("blk.0.attn_q.weight.lora_a", Dims(256, 5), wide_).ok());
  const GgufFile in = Written(writer);
  EXPECT_EQ(Quantize(in, "out.gguf", {.format = &kQ8_0Format}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(QuantizeModelTest, StoppingIsCancelledAndLeavesNoFile) {
  const GgufFile in = Model();
  const auto report = QuantizeModel(
      in, Path("out.gguf"), {.format = &kQ8_0Format},
      [](std::string_view, uint64_t done, uint64_t total) { return done < total / 2; });
  EXPECT_EQ(report.status().code(), absl::StatusCode::kCancelled);
  EXPECT_FALSE(ReadFile(Path("out.gguf"), 1 << 20).ok());
}

}  // namespace
}  // namespace choir::engine
