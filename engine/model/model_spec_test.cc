#include "engine/model/model_spec.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "base/sha256.h"
#include "engine/graph/autodiff.h"
#include "engine/model/architecture.h"
#include "engine/model/model.h"
#include "engine/model/model_plan.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_llama_builder.h"

namespace choir::engine {
namespace {

absl::StatusOr<ModelSpec> ReadSpec(const TinyLlamaBuilder& builder) {
  const std::string bytes = builder.Build();
  const auto file = GgufFile::Parse({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
  if (!file.ok()) return file.status();
  return ReadModelSpec(*file);
}

void ExpectRefused(const TinyLlamaBuilder& builder, absl::StatusCode code,
                   const std::string& message) {
  const auto spec = ReadSpec(builder);
  EXPECT_EQ(spec.status().code(), code) << spec.status().ToString();
  EXPECT_THAT(std::string(spec.status().message()), testing::HasSubstr(message));
}

TEST(ModelSpecTest, ReadsSizesAndDefaults) {
  const auto spec = ReadSpec(TinyLlamaBuilder());
  ASSERT_TRUE(spec.ok()) << spec.status().ToString();
  EXPECT_EQ(spec->layers.size(), 2u);
  EXPECT_EQ(spec->channels, 16);
  EXPECT_EQ(spec->head_size, 4);
  EXPECT_EQ(spec->q_cols(), 16);
  EXPECT_EQ(spec->kv_cols(), 8);
  EXPECT_EQ(spec->rope_dims, 4);
  EXPECT_EQ(spec->layers[1].rope_base, 10000);
  EXPECT_EQ(spec->layers[1].rope_pos_scale, 1);
  EXPECT_EQ(spec->attention_scale, 0.5);
  EXPECT_TRUE(spec->tied_output);
  EXPECT_EQ(spec->output_weight(), "token_embd.weight");
  EXPECT_FALSE(spec->rope_factors);
}

TEST(ModelSpecTest, ReadsWhatIsOptional) {
  TinyLlamaBuilder builder;
  builder.u32_keys = {{"llama.rope.dimension_count", 2}, {"llama.attention.key_length", 6}};
  builder.f32_keys = {{"llama.rope.freq_base", 500000.0f}, {"llama.rope.scaling.factor", 4.0f}};
  builder.string_keys = {{"llama.rope.scaling.type", "linear"}};
  builder.dims["rope_freqs.weight"] = {1};
  builder.dims["output.weight"] = {16, 260};
  for (const char* layer : {"blk.0.", "blk.1."}) {
    builder.dims[std::string(layer) + "attn_q.weight"] = {16, 24};
    builder.dims[std::string(layer) + "attn_k.weight"] = {16, 12};
    builder.dims[std::string(layer) + "attn_v.weight"] = {16, 12};
    builder.dims[std::string(layer) + "attn_output.weight"] = {24, 16};
  }
  const auto spec = ReadSpec(builder);
  ASSERT_TRUE(spec.ok()) << spec.status().ToString();
  EXPECT_EQ(spec->head_size, 6);
  EXPECT_EQ(spec->q_cols(), 24);
  EXPECT_EQ(spec->rope_dims, 2);
  EXPECT_TRUE(spec->rope_factors);
  EXPECT_EQ(spec->layers[0].rope_base, 500000);
  EXPECT_EQ(spec->layers[0].rope_pos_scale, 0.25);
  EXPECT_EQ(spec->output_weight(), "output.weight");
}

TEST(ModelSpecTest, HyperparametersOutOfRangeAreNamed) {
  const std::vector<std::pair<std::string, uint32_t>> bad = {
      {"llama.block_count", 0},          {"llama.block_count", kMaxLayers + 1},
      {"llama.embedding_length", 0},     {"llama.embedding_length", 0xffffffffu},
      {"llama.attention.head_count", 0}, {"llama.attention.key_length", 4096},
      {"llama.context_length", 0},       {"llama.rope.dimension_count", 3},
      {"llama.rope.dimension_count", 6}, {"llama.feed_forward_length", 0}};
  for (const auto& [key, value] : bad) {
    TinyLlamaBuilder builder;
    builder.u32_keys[key] = value;
    ExpectRefused(builder, absl::StatusCode::kInvalidArgument, key);
  }
  TinyLlamaBuilder builder;
  builder.f32_keys["llama.attention.layer_norm_rms_epsilon"] = std::nanf("");
  ExpectRefused(builder, absl::StatusCode::kInvalidArgument, "layer_norm_rms_epsilon");
}

TEST(ModelSpecTest, HeadsThatDoNotDivideAreRefused) {
  TinyLlamaBuilder builder;
  builder.u32_keys["llama.attention.head_count_kv"] = 3;
  ExpectRefused(builder, absl::StatusCode::kInvalidArgument,
                "4 heads are no multiple of 3 key/value heads");
  // 16 channels do not divide into 5 heads, and no key says how wide one is.
  TinyLlamaBuilder five;
  five.u32_keys = {{"llama.attention.head_count", 5}, {"llama.attention.head_count_kv", 5}};
  ExpectRefused(five, absl::StatusCode::kNotFound, "llama.attention.key_length");
}

TEST(ModelSpecTest, TensorsThatContradictHyperparametersAreNamed) {
  TinyLlamaBuilder wrong;
  wrong.dims["blk.1.ffn_up.weight"] = {16, 23};
  ExpectRefused(wrong, absl::StatusCode::kInvalidArgument,
                "tensor blk.1.ffn_up.weight has shape [16, 23]; the hyperparameters say [16, 24]");
  TinyLlamaBuilder missing;
  missing.left_out = {"blk.1.attn_norm.weight"};
  ExpectRefused(missing, absl::StatusCode::kNotFound, "blk.1.attn_norm.weight");
  TinyLlamaBuilder matrix;
  matrix.dims["output_norm.weight"] = {16, 1};
  ExpectRefused(matrix, absl::StatusCode::kInvalidArgument, "output_norm.weight");
  TinyLlamaBuilder more_layers;
  more_layers.u32_keys["llama.block_count"] = 3;
  ExpectRefused(more_layers, absl::StatusCode::kNotFound, "blk.2.attn_norm.weight");
  TinyLlamaBuilder vocabulary;
  vocabulary.u32_keys["llama.vocab_size"] = 7;
  ExpectRefused(vocabulary, absl::StatusCode::kInvalidArgument, "the vocabulary 7 tokens");
}

TEST(ModelSpecTest, NetworksThatItWouldComputeWronglyAreRefused) {
  TinyLlamaBuilder bias;
  bias.dims["blk.0.attn_q.bias"] = {16};
  ExpectRefused(bias, absl::StatusCode::kUnimplemented, "blk.0.attn_q.bias");
  TinyLlamaBuilder fewer_layers;
  fewer_layers.u32_keys["llama.block_count"] = 1;
  ExpectRefused(fewer_layers, absl::StatusCode::kUnimplemented, "blk.1.");
  TinyLlamaBuilder experts;
  experts.u32_keys["llama.expert_count"] = 8;
  ExpectRefused(experts, absl::StatusCode::kUnimplemented, "8 experts");
  TinyLlamaBuilder scaling;
  scaling.string_keys["llama.rope.scaling.type"] = "yarn";
  ExpectRefused(scaling, absl::StatusCode::kUnimplemented, "yarn");
  TinyLlamaBuilder other;
  other.string_keys["general.architecture"] = "mamba";
  ExpectRefused(other, absl::StatusCode::kUnimplemented, "llama");
}

class ModelTest : public testing::Test {
 protected:
  Model Open(const TinyLlamaBuilder& builder) {
    const std::string path = dir_.path() + "/model.gguf";
    bytes_ = builder.Build();
    EXPECT_TRUE(AtomicWriteFile(path, bytes_).ok());
    auto model = Model::Open(path);
    EXPECT_TRUE(model.ok()) << model.status().ToString();
    return *std::move(model);
  }

  TempDir dir_;
  std::string bytes_;
};

TEST_F(ModelTest, ListsTargetsInCanonicalOrderAndHashesTheFile) {
  const Model model = Open(TinyLlamaBuilder());
  const std::vector<LoraTarget> targets = model.LoraTargets();
  ASSERT_EQ(targets.size(), 14u);
  EXPECT_EQ(targets[0].name, "blk.0.attn_q.weight");
  EXPECT_EQ(targets[6].name, "blk.0.ffn_down.weight");
  EXPECT_EQ(targets[6].rows, 16);
  EXPECT_EQ(targets[6].cols, 24);
  EXPECT_EQ(targets[7].name, "blk.1.attn_q.weight");
  EXPECT_EQ(DigestToHex(model.Sha256()), DigestToHex(Sha256Of(bytes_)));
}

TEST_F(ModelTest, ChecksTokens) {
  const Model model = Open(TinyLlamaBuilder());
  const auto last = static_cast<int32_t>(model.spec().vocabulary - 1);
  EXPECT_TRUE(model.CheckTokens(std::vector<int32_t>{0, last}).ok());
  EXPECT_FALSE(model.CheckTokens(std::vector<int32_t>{0, -1}).ok());
  EXPECT_FALSE(model.CheckTokens(std::vector<int32_t>{last + 1}).ok());
}

TEST_F(ModelTest, WithoutAKnownTokenizerTheNetworkStillOpens) {
  TinyLlamaBuilder builder;
  builder.string_keys["tokenizer.ggml.model"] = "unigram";
  const Model model = Open(builder);
  EXPECT_EQ(model.tokenizer().vocabulary_size(), model.spec().vocabulary);
  const absl::Status status = model.tokenizer().Encode("hello").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("unigram"));
  EXPECT_FALSE(model.tokenizer().Piece(0).ok());
  EXPECT_FALSE(model.tokenizer().IsEndOfGeneration(0));
}

TEST_F(ModelTest, OpenNamesThePath) {
  const std::string path = dir_.path() + "/broken.gguf";
  ASSERT_TRUE(AtomicWriteFile(path, "GGUFxxxx").ok());
  EXPECT_THAT(std::string(Model::Open(path).status().message()), testing::HasSubstr(path));
  EXPECT_FALSE(Model::Open(dir_.path() + "/absent.gguf").ok());
}

TEST_F(ModelTest, PlanCountsWhatTrainingNeeds) {
  TinyLlamaBuilder builder;
  builder.layers = 8;
  const Model model = Open(builder);
  const auto adapter = InitAdapter({.rank = 2}, model.LoraTargets(), "llama", 1);
  ASSERT_TRUE(adapter.ok()) << adapter.status().ToString();
  const AdapterLayout layout = LayoutOf(*adapter);
  const auto plain = PlanForTraining(model, layout, {.tokens = 32});
  const auto checkpointed =
      PlanForTraining(model, layout, {.tokens = 32, .recomputed_blocks = kAllBlocks});
  const auto eval = PlanForEvaluation(model, &layout, 32);
  constexpr int64_t kPieces[] = {16, 1};
  const auto generation = PlanForGeneration(model, &layout, kPieces, 48, KvCacheType::kF32);
  const auto halves = PlanForGeneration(model, &layout, kPieces, 48, KvCacheType::kF16);
  ASSERT_TRUE(plain.ok() && checkpointed.ok() && eval.ok() && generation.ok() && halves.ok());
  uint64_t weights = 0;
  for (const GgufTensor& tensor : model.file().tensors()) weights += tensor.bytes.size();
  EXPECT_EQ(plain->weight_bytes, weights);
  EXPECT_EQ(plain->adapter_bytes, adapter->ParameterCount() * 16 + 4);
  EXPECT_LT(checkpointed->arena_bytes, plain->arena_bytes / 2);
  EXPECT_LT(eval->arena_bytes, checkpointed->arena_bytes);
  EXPECT_EQ(generation->cache_bytes, 2u * 8 * 48 * 8 * 4);
  EXPECT_EQ(halves->cache_bytes, generation->cache_bytes / 2);
  EXPECT_EQ(generation->total_bytes(), generation->arena_bytes + weights +
                                           adapter->ParameterCount() * 4 + generation->cache_bytes);
}

TEST_F(ModelTest, AQ8CacheNeedsWholeBlocks) {
  const Model model = Open(TinyLlamaBuilder());  // 8 columns of keys
  const auto bytes = KvCacheBytes(model.spec(), 16, KvCacheType::kQ8_0);
  ASSERT_EQ(bytes.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(bytes.status().message().find("whole blocks of 32"), std::string::npos);
  EXPECT_EQ(SizeBytes(*KvCacheDesc(KvCacheType::kQ8_0, 16, 64)), 16 * 2 * 34);
  EXPECT_FALSE(ParseKvCacheType("q4_0").ok());
  EXPECT_EQ(*ParseKvCacheType("q8_0"), KvCacheType::kQ8_0);
}

}  // namespace
}  // namespace choir::engine
