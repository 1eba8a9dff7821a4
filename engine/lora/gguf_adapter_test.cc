#include "engine/lora/gguf_adapter.h"

#include <cmath>
#include <functional>
#include <map>
#include <string>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "engine/gguf/gguf_writer.h"
#include "engine/quant/half.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_data.h"

namespace choir::engine {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

Adapter MakeAdapter() {
  LoraConfig config{.rank = 2, .alpha = 4.0f};
  config.modules = *LoraModuleSet::Parse("attn_q");
  const std::vector<LoraTarget> targets = {{"blk.0.attn_q.weight", 6, 4},
                                           {"blk.1.attn_q.weight", 6, 4}};
  Adapter adapter = *InitAdapter(config, targets, "llama", 1);
  adapter.base_model_sha256 = std::string(64, 'a');
  for (size_t i = 0; i < adapter.pairs[1].b.size(); ++i) {
    adapter.pairs[1].b[i] = static_cast<float>(i);
  }
  return adapter;
}

TEST(GgufAdapterTest, RoundTripIsByteIdentical) {
  const TempDir dir;
  const Adapter adapter = MakeAdapter();
  const std::string path = dir.path() + "/a.gguf";
  ASSERT_TRUE(WriteGgufAdapter(adapter, path).ok());
  const absl::StatusOr<Adapter> back = ReadGgufAdapter(path);
  ASSERT_TRUE(back.ok()) << back.status().ToString();
  EXPECT_TRUE(SameShape(*back, adapter));
  EXPECT_EQ(Flatten(*back), Flatten(adapter));
  EXPECT_EQ(back->alpha, 4.0f);
  EXPECT_EQ(back->architecture, "llama");
  EXPECT_EQ(back->base_model_sha256, adapter.base_model_sha256);
  EXPECT_EQ(*SerializeGgufAdapter(*back), *ReadFile(path, 1 << 20));
}

TEST(GgufAdapterTest, DropoutIsKeptAndOnlyWrittenWhereThereIsSome) {
  Adapter adapter = MakeAdapter();
  const std::string without = *SerializeGgufAdapter(adapter);
  EXPECT_FALSE(GgufFile::Parse(AsBytes(without))->Has("choir.lora.dropout"));
  adapter.dropout = 0.25f;
  const std::string with = *SerializeGgufAdapter(adapter);
  EXPECT_EQ(ParseGgufAdapter(AsBytes(with))->dropout, 0.25f);
  adapter.dropout = 1.5f;
  const std::string bad = *SerializeGgufAdapter(adapter);
  EXPECT_EQ(ParseGgufAdapter(AsBytes(bad)).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(GgufAdapterTest, TheFileIsWhatLlamaCppReads) {
  const std::string bytes = *SerializeGgufAdapter(MakeAdapter());
  const absl::StatusOr<GgufFile> file = GgufFile::Parse(AsBytes(bytes));
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(*file->GetString("general.type"), "adapter");
  EXPECT_EQ(*file->GetString("adapter.type"), "lora");
  EXPECT_EQ(*file->GetString("general.architecture"), "llama");
  EXPECT_EQ(*file->GetF32("adapter.lora.alpha"), 4.0f);
  ASSERT_EQ(file->tensors().size(), 4u);
  EXPECT_EQ(file->tensors()[0].name, "blk.0.attn_q.weight.lora_a");
  EXPECT_EQ(file->tensors()[0].ShapeString(), "[4, 2]");
  EXPECT_EQ(file->tensors()[1].name, "blk.0.attn_q.weight.lora_b");
  EXPECT_EQ(file->tensors()[1].ShapeString(), "[2, 6]");
}

TEST(GgufAdapterTest, ReferenceAdapterIsRead) {
  CHOIR_TEST_DATA_OR_SKIP(data);
  const absl::StatusOr<Adapter> adapter =
      ReadGgufAdapter(data + "/reference/lora/stories260K-f32/adapter.gguf");
  ASSERT_TRUE(adapter.ok()) << adapter.status().ToString();
  EXPECT_EQ(adapter->pairs.size(), 35u);
  EXPECT_EQ(adapter->Scale(adapter->pairs[0]), 2.0f);
  const LoraPair* pair = adapter->Find("blk.4.ffn_down.weight");
  ASSERT_NE(pair, nullptr);
  EXPECT_EQ(pair->rank, 4);
  EXPECT_EQ(pair->rows, 64);
  EXPECT_EQ(pair->cols, 172);
  EXPECT_TRUE(CheckFinite(*adapter).ok());
}

TEST(GgufAdapterTest, QvacAdapterIsReadWithoutItsOneDimensionalPair) {
  CHOIR_TEST_DATA_OR_SKIP(data);
  AdapterReadReport report;
  const absl::StatusOr<Adapter> adapter =
      ReadGgufAdapter(data + "/lora/qvac_format/stories260K-qvac-finetune-lora.gguf", &report);
  ASSERT_TRUE(adapter.ok()) << adapter.status().ToString();
  EXPECT_EQ(adapter->pairs.size(), 35u);
  EXPECT_EQ(adapter->pairs[0].name, "blk.0.attn_q.weight");  // the file begins with block 4
  EXPECT_EQ(report.skipped.size(), 1u);
  EXPECT_THAT(report.skipped[0], HasSubstr("output_norm.weight"));
}

// A file made of named tensors, for what our own writer would refuse.
struct RawAdapter {
  struct Tensor {
    std::vector<uint64_t> dims;
    uint32_t type = kTensorF32;
  };
  std::string type = "adapter";
  std::string lora = "lora";
  float alpha = 1.0f;
  std::map<std::string, Tensor> tensors = {{"blk.0.attn_q.weight.lora_a", {{4, 2}}},
                                           {"blk.0.attn_q.weight.lora_b", {{2, 6}}}};

  [[nodiscard]] std::string Build() const {
    GgufWriter writer;
    writer.SetString("general.architecture", "llama");
    writer.SetString("general.type", type);
    writer.SetString("adapter.type", lora);
    writer.SetF32("adapter.lora.alpha", alpha);
    for (const auto& [name, tensor] : tensors) {
      uint64_t bytes = tensor.type == kTensorF32 ? 4 : 2;
      for (const uint64_t dim : tensor.dims) bytes *= dim;
      const absl::Status added = writer.AddTensor(name, tensor.type, tensor.dims,
                                                  [bytes](const GgufWriter::ByteSink& sink) {
                                                    return sink(std::vector<uint8_t>(bytes, 0x3c));
                                                  });
      EXPECT_TRUE(added.ok()) << added.ToString();
    }
    return *writer.Serialize();
  }
};

TEST(GgufAdapterTest, F16IsRead) {
  RawAdapter raw;
  for (auto& [name, tensor] : raw.tensors) tensor.type = kTensorF16;
  const std::string bytes = raw.Build();
  const absl::StatusOr<Adapter> adapter = ParseGgufAdapter(AsBytes(bytes));
  ASSERT_TRUE(adapter.ok()) << adapter.status().ToString();
  EXPECT_EQ(adapter->pairs[0].a[0], F16ToF32(0x3c3c));
}

TEST(GgufAdapterTest, RankOneWithADroppedAxisIsRead) {
  RawAdapter raw;
  raw.tensors = {{"blk.0.attn_q.weight.lora_a", {{4}}}, {"blk.0.attn_q.weight.lora_b", {{1, 6}}}};
  const std::string bytes = raw.Build();
  const absl::StatusOr<Adapter> adapter = ParseGgufAdapter(AsBytes(bytes));
  ASSERT_TRUE(adapter.ok()) << adapter.status().ToString();
  EXPECT_EQ(adapter->pairs[0].rank, 1);
}

TEST(GgufAdapterTest, AlphaZeroMeansScaleOne) {
  RawAdapter raw;
  raw.alpha = 0.0f;
  const std::string bytes = raw.Build();
  const absl::StatusOr<Adapter> adapter = ParseGgufAdapter(AsBytes(bytes));
  ASSERT_TRUE(adapter.ok());
  EXPECT_EQ(adapter->Scale(adapter->pairs[0]), 1.0f);
}

struct BadAdapter {
  const char* name;
  void (*spoil)(RawAdapter&);
  const char* message;
};

class BadAdapterTest : public ::testing::TestWithParam<BadAdapter> {};

TEST_P(BadAdapterTest, IsRefusedWithItsReason) {
  RawAdapter raw;
  GetParam().spoil(raw);
  const std::string bytes = raw.Build();
  const absl::Status status = ParseGgufAdapter(AsBytes(bytes)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.ToString(), HasSubstr(GetParam().message));
}

constexpr char kA[] = "blk.0.attn_q.weight.lora_a";
constexpr char kB[] = "blk.0.attn_q.weight.lora_b";

INSTANTIATE_TEST_SUITE_P(
    All, BadAdapterTest,
    ::testing::Values(
        BadAdapter{"AModel", [](RawAdapter& r) { r.type = "model"; }, "general.type"},
        BadAdapter{"ControlVector", [](RawAdapter& r) { r.lora = "control"; }, "adapter.type"},
        BadAdapter{"AlphaNan", [](RawAdapter& r) { r.alpha = std::nanf(""); }, "alpha"},
        BadAdapter{"AlphaInfinite", [](RawAdapter& r) { r.alpha = INFINITY; }, "alpha"},
        BadAdapter{"NoTensors", [](RawAdapter& r) { r.tensors.clear(); }, "no tensors"},
        BadAdapter{"MissingB", [](RawAdapter& r) { r.tensors.erase(kB); }, "lora_b is missing"},
        BadAdapter{"MissingA", [](RawAdapter& r) { r.tensors.erase(kA); }, "lora_a is missing"},
        BadAdapter{"RanksDiffer",
                   [](RawAdapter& r) {
                     r.tensors[kA].dims = {4, 3};
                   },
                   "ranks 3 and 2"},
        BadAdapter{"RankTooHigh",
                   [](RawAdapter& r) {
                     r.tensors[kA].dims = {1, 4097};
                     r.tensors[kB].dims = {4097, 1 + 1};
                   },
                   "rank 4097"},
        BadAdapter{"ThreeAxes",
                   [](RawAdapter& r) {
                     r.tensors[kA].dims = {4, 2, 1};
                   },
                   "not two axes"},
        BadAdapter{"OtherType", [](RawAdapter& r) { r.tensors[kA].type = 30; },
                   "F32 and F16 can be read"},
        BadAdapter{"OtherSuffix",
                   [](RawAdapter& r) {
                     r.tensors["blk.0.attn_q.weight.lora_c"].dims = {4, 2};
                   },
                   "lora_c"},
        BadAdapter{"OnlyAOneDimensionalPair", [](RawAdapter& r) { r.tensors[kB].dims = {2}; },
                   "no tensors"}),
    [](const auto& test) { return std::string(test.param.name); });

TEST(BadAdapterFileTest, RepeatedTargetIsDataLoss) {
  const Adapter adapter = MakeAdapter();
  std::string bytes = *SerializeGgufAdapter(adapter);
  // Renames the second block's A and B to those of the first.
  for (size_t at = bytes.find("blk.1."); at != bytes.npos; at = bytes.find("blk.1.")) {
    bytes[at + 4] = '0';
  }
  const absl::Status status = ParseGgufAdapter(AsBytes(bytes)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(status.ToString(), HasSubstr("stands twice"));
}

TEST(BadAdapterFileTest, EveryTruncationIsAnError) {
  const std::string bytes = *SerializeGgufAdapter(MakeAdapter());
  for (size_t size = 0; size + 31 < bytes.size(); ++size) {
    EXPECT_FALSE(ParseGgufAdapter(AsBytes(std::string_view(bytes).substr(0, size))).ok()) << size;
  }
}

TEST(BadAdapterFileTest, InvalidAdaptersAreNotWritten) {
  const TempDir dir;
  Adapter adapter = MakeAdapter();
  adapter.pairs[0].a.pop_back();
  EXPECT_EQ(WriteGgufAdapter(adapter, dir.path() + "/x.gguf").code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(ReadFile(dir.path() + "/x.gguf", 1).ok());
}

}  // namespace
}  // namespace choir::engine
