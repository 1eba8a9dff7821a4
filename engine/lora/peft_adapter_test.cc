#include "engine/lora/peft_adapter.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "engine/lora/lora_config.h"
#include "engine/lora/safetensors.h"
#include "engine/quant/half.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_data.h"

namespace choir::engine {
namespace {

using ::testing::HasSubstr;

// Of stories260K.
const PeftBase kStories{.architecture = "llama",
                        .name = "stories260K",
                        .num_layers = 5,
                        .num_heads = 8,
                        .num_kv_heads = 4,
                        .reorders_heads = true};

// Two blocks of a model with two heads of four rows; every element of A and B another number.
Adapter MakeAdapter() {
  LoraConfig config{.rank = 2, .alpha = 4.0f};
  config.modules = *LoraModuleSet::Parse("attn_q,attn_v");
  const std::vector<LoraTarget> targets = {{"blk.0.attn_q.weight", 8, 3},
                                           {"blk.0.attn_v.weight", 8, 3},
                                           {"blk.1.attn_q.weight", 8, 3},
                                           {"blk.1.attn_v.weight", 8, 3}};
  Adapter adapter = *InitAdapter(config, targets, "llama", 1);
  adapter.base_model_sha256 = std::string(64, 'a');
  float next = 1;
  for (LoraPair& pair : adapter.pairs) {
    for (float& v : pair.b) v = next++;
  }
  return adapter;
}

PeftBase MakeBase() {
  return {.architecture = "llama",
          .name = "toy",
          .num_layers = 2,
          .num_heads = 2,
          .num_kv_heads = 1,
          .reorders_heads = true};
}

// Tensors whose bytes are equal in both, by name.
size_t EqualTensors(const SafetensorsFile& x, const SafetensorsFile& y) {
  std::map<std::string, const SafetensorsTensor*> by_name;
  for (const SafetensorsTensor& tensor : y.tensors()) by_name[tensor.name] = &tensor;
  size_t equal = 0;
  for (const SafetensorsTensor& tensor : x.tensors()) {
    const auto found = by_name.find(tensor.name);
    if (found == by_name.end() || found->second->shape != tensor.shape) continue;
    const auto bytes = found->second->bytes;
    if (std::equal(bytes.begin(), bytes.end(), tensor.bytes.begin(), tensor.bytes.end())) ++equal;
  }
  return equal;
}

TEST(PeftAdapterTest, TheStoredFolderIsTheStoredGgufAdapterBitForBit) {
  CHOIR_TEST_DATA_OR_SKIP(data);
  const std::string folder = data + "/reference/lora/stories260K-f32";
  const auto gguf = ReadGgufAdapter(folder + "/adapter.gguf");
  const auto peft = ReadPeftAdapter(folder + "/peft", kStories);
  ASSERT_TRUE(peft.ok()) << peft.status().ToString();
  ASSERT_TRUE(SameShape(*peft, *gguf));
  size_t equal = 0;
  for (size_t i = 0; i < gguf->pairs.size(); ++i) {
    if (peft->pairs[i].a == gguf->pairs[i].a) ++equal;
    if (peft->pairs[i].b == gguf->pairs[i].b) ++equal;
  }
  EXPECT_EQ(equal, 70u);
  EXPECT_EQ(peft->alpha, gguf->alpha);
  EXPECT_EQ(peft->architecture, "llama");
}

TEST(PeftAdapterTest, TheStoredGgufAdapterIsWrittenAsTheStoredFolderBitForBit) {
  CHOIR_TEST_DATA_OR_SKIP(data);
  const TempDir dir;
  const std::string folder = data + "/reference/lora/stories260K-f32";
  const auto gguf = ReadGgufAdapter(folder + "/adapter.gguf");
  ASSERT_TRUE(WritePeftAdapter(*gguf, kStories, dir.path() + "/peft").ok());
  const auto written = SafetensorsFile::Open(dir.path() + "/peft/adapter_model.safetensors");
  const auto stored = SafetensorsFile::Open(folder + "/peft/adapter_model.safetensors");
  ASSERT_TRUE(written.ok() && stored.ok());
  EXPECT_EQ(written->tensors().size(), 70u);
  EXPECT_EQ(EqualTensors(*stored, *written), 70u);
}

TEST(PeftAdapterTest, RoundTripKeepsEverything) {
  const TempDir dir;
  Adapter adapter = MakeAdapter();
  adapter.pairs[3].alpha = 6.0f;
  ASSERT_TRUE(WritePeftAdapter(adapter, MakeBase(), dir.path() + "/a").ok());
  const auto back = ReadAdapter(dir.path() + "/a", MakeBase());
  ASSERT_TRUE(back.ok()) << back.status().ToString();
  EXPECT_TRUE(SameShape(*back, adapter));
  EXPECT_EQ(Flatten(*back), Flatten(adapter));
  EXPECT_EQ(back->alpha, 4.0f);
  EXPECT_EQ(back->pairs[3].alpha, 6.0f);
  EXPECT_EQ(back->pairs[2].alpha, 0.0f);
  EXPECT_EQ(back->base_model_sha256, adapter.base_model_sha256);
}

TEST(PeftAdapterTest, OneAlphaOfAPairIsFoldedIntoAGguf) {
  Adapter adapter = MakeAdapter();
  adapter.pairs[3].alpha = 8.0f;
  const auto back = ParseGgufAdapter(AsBytes(*SerializeGgufAdapter(adapter)));
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->Scale(back->pairs[3]), 2.0f);
  for (size_t i = 0; i < adapter.pairs[3].b.size(); ++i) {
    EXPECT_EQ(back->pairs[3].b[i], 2 * adapter.pairs[3].b[i]);
  }
  EXPECT_EQ(back->pairs[2].b, adapter.pairs[2].b);
}

TEST(PeftAdapterTest, RowsOfAReorderedHeadGoFromHalvesToPairs) {
  // Rank 1, one head of six rows: halves (0 1 2 | 3 4 5) become pairs (0 3)(1 4)(2 5).
  LoraPair pair{"blk.0.attn_k.weight", 6, 1, 1, {1}, {0, 1, 2, 3, 4, 5}};
  const PeftBase base = MakeBase();
  ASSERT_TRUE(RowsToGguf(base, pair).ok());
  EXPECT_EQ(pair.b, (std::vector<float>{0, 3, 1, 4, 2, 5}));
  ASSERT_TRUE(RowsToPeft(base, pair).ok());
  EXPECT_EQ(pair.b, (std::vector<float>{0, 1, 2, 3, 4, 5}));
  pair.rows = 5;
  EXPECT_EQ(RowsToGguf(base, pair).code(), absl::StatusCode::kInvalidArgument);
}

TEST(PeftAdapterTest, RanksDifferByPattern) {
  const TempDir dir;
  Adapter adapter = MakeAdapter();
  LoraPair& pair = adapter.pairs[1];
  pair.rank = 1;
  pair.a.resize(3);
  pair.b.resize(8);
  ASSERT_TRUE(WritePeftAdapter(adapter, MakeBase(), dir.path()).ok());
  const auto back = ReadPeftAdapter(dir.path(), MakeBase());
  ASSERT_TRUE(back.ok()) << back.status().ToString();
  EXPECT_EQ(back->pairs[1].rank, 1);
  EXPECT_EQ(Flatten(*back), Flatten(adapter));
}

TEST(PeftAdapterTest, TargetModulesAreShortOnlyWhereEveryLayerHasThem) {
  const TempDir dir;
  Adapter adapter = MakeAdapter();
  ASSERT_TRUE(WritePeftAdapter(adapter, MakeBase(), dir.path()).ok());
  const std::string path = dir.path() + "/adapter_config.json";
  EXPECT_THAT(*ReadFile(path, 1 << 20), HasSubstr("\"q_proj\""));
  adapter.pairs.pop_back();
  ASSERT_TRUE(WritePeftAdapter(adapter, MakeBase(), dir.path()).ok());
  EXPECT_THAT(*ReadFile(path, 1 << 20), HasSubstr("\"model.layers.1.self_attn.q_proj\""));
}

// PEFT's nn.Embedding and llama.cpp's token_embd have A and B the other way round.
TEST(PeftAdapterTest, VocabularyMatricesStandAsPeftAndLlamaCppHaveThem) {
  LoraConfig config{.rank = 2, .alpha = 4.0f};
  config.modules = *LoraModuleSet::Parse("output,token_embd");
  const std::vector<LoraTarget> targets = {{"output.weight", 7, 3}, {"token_embd.weight", 7, 3}};
  Adapter adapter = *InitAdapter(config, targets, "llama", 1);
  float next = 1;
  for (LoraPair& pair : adapter.pairs) {
    for (float& v : pair.b) v = next++;
  }
  const LoraPair& lookup = adapter.pairs[1];

  const TempDir dir;
  ASSERT_TRUE(WritePeftAdapter(adapter, MakeBase(), dir.path()).ok());
  EXPECT_THAT(*ReadFile(dir.path() + "/adapter_config.json", 1 << 20),
              HasSubstr("\"lm_head\",\n    \"embed_tokens\""));
  const SafetensorsFile file = *SafetensorsFile::Open(dir.path() + "/adapter_model.safetensors");
  std::map<std::string, std::string> shapes;
  for (const SafetensorsTensor& tensor : file.tensors()) {
    shapes[tensor.name] = tensor.ShapeString();
    if (tensor.name != "base_model.model.model.embed_tokens.lora_embedding_A") continue;
    std::vector<float> values(14);
    std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
    EXPECT_EQ(values[1 * 7 + 5], lookup.b[5 * 2 + 1]);
  }
  const std::map<std::string, std::string> wanted = {
      {"base_model.model.lm_head.lora_A.weight", "[2, 3]"},
      {"base_model.model.lm_head.lora_B.weight", "[7, 2]"},
      {"base_model.model.model.embed_tokens.lora_embedding_A", "[2, 7]"},
      {"base_model.model.model.embed_tokens.lora_embedding_B", "[3, 2]"}};
  EXPECT_EQ(shapes, wanted);
  EXPECT_EQ(Flatten(*ReadPeftAdapter(dir.path(), MakeBase())), Flatten(adapter));

  const std::string bytes = *SerializeGgufAdapter(adapter);
  const GgufFile gguf = *GgufFile::Parse(AsBytes(bytes));
  EXPECT_EQ(gguf.FindTensor("output.weight.lora_a")->ShapeString(), "[3, 2]");
  EXPECT_EQ(gguf.FindTensor("token_embd.weight.lora_a")->ShapeString(), "[2, 7]");
  EXPECT_EQ(gguf.FindTensor("token_embd.weight.lora_b")->ShapeString(), "[2, 3]");
  const Adapter back = *ParseGgufAdapter(AsBytes(bytes));
  EXPECT_TRUE(SameShape(back, adapter));
  EXPECT_EQ(Flatten(back), Flatten(adapter));
}

TEST(PeftAdapterTest, NamesOfNestedTextModelsAreRead) {
  EXPECT_EQ(BaseTensorName("model.language_model.layers.3.mlp.up_proj"), "blk.3.ffn_up.weight");
  EXPECT_EQ(BaseTensorName("language_model.model.layers.3.mlp.up_proj"), "blk.3.ffn_up.weight");
  EXPECT_EQ(BaseTensorName("model.layers.03.mlp.up_proj"), std::nullopt);
  EXPECT_EQ(BaseTensorName("model.layers.3.mlp.up_proj.x"), std::nullopt);
  EXPECT_EQ(BaseTensorName("model.layers."), std::nullopt);
  EXPECT_EQ(BaseTensorName("lm_head"), "output.weight");
  EXPECT_EQ(BaseTensorName("model.language_model.embed_tokens"), "token_embd.weight");
  EXPECT_EQ(BaseTensorName("embed_tokens"), std::nullopt);
}

// A safetensors file with one pair of these dtypes and names.
struct RawPeft {
  std::string prefix = "base_model.model.model.layers.0.mlp.up_proj";
  std::string dtype = "F32";
  uint64_t rank_of_b = 2;
  std::string suffix_b = ".lora_B.weight";
  uint16_t fill = 0x3c3c;

  [[nodiscard]] std::string Build() const {
    const uint64_t size = dtype == "F32" ? 4 : 2;
    const uint64_t a_end = 2 * 3 * size;
    const uint64_t b_end = a_end + 5 * rank_of_b * size;
    const std::string header =
        "{\"" + prefix + ".lora_A.weight\":{\"dtype\":\"" + dtype +
        "\",\"shape\":[2,3],\"data_offsets\":[0," + std::to_string(a_end) + "]},\"" + prefix +
        suffix_b + "\":{\"dtype\":\"" + dtype + "\",\"shape\":[5," + std::to_string(rank_of_b) +
        "],\"data_offsets\":[" + std::to_string(a_end) + "," + std::to_string(b_end) + "]}}";
    const uint64_t length = header.size();
    std::string out(reinterpret_cast<const char*>(&length), sizeof(length));
    out += header;
    for (uint64_t i = 0; i < b_end / 2; ++i) {
      out.append(reinterpret_cast<const char*>(&fill), sizeof(fill));
    }
    return out;
  }

  [[nodiscard]] absl::StatusOr<Adapter> Parse() const {
    const std::string bytes = Build();
    return ParsePeftAdapter(R"({"peft_type":"LORA","r":2,"lora_alpha":3,"use_rslora":true})",
                            AsBytes(bytes), MakeBase());
  }
};

TEST(PeftAdapterTest, SixteenBitTensorsAreRead) {
  RawPeft raw;
  raw.dtype = "BF16";
  auto adapter = raw.Parse();
  ASSERT_TRUE(adapter.ok()) << adapter.status().ToString();
  EXPECT_EQ(adapter->pairs[0].a[5], Bf16ToF32(0x3c3c));
  raw.dtype = "F16";
  adapter = raw.Parse();
  ASSERT_TRUE(adapter.ok());
  EXPECT_EQ(adapter->pairs[0].b[9], F16ToF32(0x3c3c));
}

TEST(PeftAdapterTest, RsloraDividesByTheRootOfTheRank) {
  const auto adapter = RawPeft().Parse();
  ASSERT_TRUE(adapter.ok());
  EXPECT_NEAR(adapter->Scale(adapter->pairs[0]), 3.0f / std::sqrt(2.0f), 1e-6);
}

TEST(PeftAdapterTest, WhatDoesNotFitIsRefused) {
  RawPeft raw;
  raw.prefix = "base_model.model.../../etc/passwd";
  EXPECT_THAT(raw.Parse().status().ToString(), HasSubstr("none of what can be adapted"));
  raw = {};
  raw.prefix = "model.layers.0.mlp.up_proj";
  EXPECT_THAT(raw.Parse().status().ToString(), HasSubstr("is not base_model.model."));
  raw = {};
  raw.rank_of_b = 3;
  EXPECT_THAT(raw.Parse().status().ToString(), HasSubstr("[5, 3]"));
  raw = {};
  raw.suffix_b = ".lora_B";
  EXPECT_THAT(raw.Parse().status().ToString(), HasSubstr("is not base_model.model."));
  raw = {};
  raw.dtype = "I16";
  EXPECT_THAT(raw.Parse().status().ToString(), HasSubstr("F32, F16, BF16 can be read"));
}

TEST(PeftAdapterTest, AMissingFileOrAnotherTargetIsAnError) {
  const TempDir dir;
  EXPECT_EQ(ReadAdapter(dir.path(), MakeBase()).status().code(), absl::StatusCode::kNotFound);
  Adapter adapter = MakeAdapter();
  adapter.pairs.back().name = "output_norm.weight";
  EXPECT_EQ(WritePeftAdapter(adapter, MakeBase(), dir.path() + "/x").code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace choir::engine
