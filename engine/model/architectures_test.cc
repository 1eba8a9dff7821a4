// What the architectures read from a file, and what their layers compute where the shared
// references have no model for it: qwen2's biases, bitnet's factors, gemma3's capped logits.

#include <cmath>
#include <cstring>
#include <numeric>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "engine/backend/reference_backend.h"
#include "engine/gguf/gguf_writer.h"
#include "engine/model/device_model.h"
#include "engine/model/inference_graph.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_llama_builder.h"

namespace choir::engine {
namespace {

using Rows = std::vector<std::vector<double>>;

std::string Part(uint32_t layer, const char* name) {
  return fmt::format("blk.{}.{}", layer, name);
}

TinyLlamaBuilder Qwen2() {
  TinyLlamaBuilder builder;
  builder.architecture = "qwen2";
  for (uint32_t layer = 0; layer < builder.layers; ++layer) {
    builder.dims[Part(layer, "attn_q.bias")] = {16};
    builder.dims[Part(layer, "attn_k.bias")] = {8};
    builder.dims[Part(layer, "attn_v.bias")] = {8};
  }
  return builder;
}

TinyLlamaBuilder Bitnet(const char* name = "bitnet") {
  TinyLlamaBuilder builder;
  builder.architecture = name;
  for (uint32_t layer = 0; layer < builder.layers; ++layer) {
    builder.dims[Part(layer, "attn_sub_norm.weight")] = {16};
    builder.dims[Part(layer, "ffn_sub_norm.weight")] = {24};
  }
  return builder;
}

TinyLlamaBuilder Gemma3(uint32_t layers) {
  TinyLlamaBuilder builder;
  builder.architecture = "gemma3";
  builder.layers = layers;
  for (uint32_t layer = 0; layer < layers; ++layer) {
    for (const char* norm : {"attn_q_norm.weight", "attn_k_norm.weight"}) {
      builder.dims[Part(layer, norm)] = {4};
    }
    for (const char* norm : {"post_attention_norm.weight", "post_ffw_norm.weight"}) {
      builder.dims[Part(layer, norm)] = {16};
    }
  }
  return builder;
}

absl::StatusOr<GgufFile> Parse(const std::string& bytes) {
  return GgufFile::Parse({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
}

absl::StatusOr<ModelSpec> ReadSpec(const TinyLlamaBuilder& builder) {
  const std::string bytes = builder.Build();
  const auto file = Parse(bytes);
  if (!file.ok()) return file.status();
  return ReadModelSpec(*file);
}

std::vector<double> ValuesOf(const GgufFile& file, const std::string& name) {
  const GgufTensor* tensor = file.FindTensor(name);
  EXPECT_NE(tensor, nullptr) << name;
  std::vector<float> values(tensor->num_elements());
  std::memcpy(values.data(), tensor->bytes.data(), tensor->bytes.size());
  return {values.begin(), values.end()};
}

// Logits of token ids 3, 4, ... by the ops' references.
std::vector<float> LogitsOf(const std::string& bytes, int64_t tokens) {
  const TempDir dir;
  const std::string path = dir.path() + "/model.gguf";
  EXPECT_TRUE(AtomicWriteFile(path, bytes).ok());
  const auto model = Model::Open(path);
  EXPECT_TRUE(model.ok()) << model.status().ToString();
  if (!model.ok()) return {};
  const auto backend = CreateReferenceBackend();
  const auto weights = DeviceModel::Load(*backend, *model);
  const auto built = BuildLogitsGraph(*model, nullptr, tokens);
  EXPECT_TRUE(weights.ok() && built.ok()) << built.status().ToString();
  if (!built.ok()) return {};
  Bindings bindings;
  weights->Bind(built->graph, bindings);
  const auto executable = backend->Compile(built->graph, bindings, {});
  EXPECT_TRUE(executable.ok()) << executable.status().ToString();
  if (!executable.ok()) return {};
  std::vector<int32_t> row(static_cast<size_t>(tokens));
  EXPECT_TRUE(
      (*executable)->WriteInput(built->segments, BytesOf(std::span(std::as_const(row)))).ok());
  std::iota(row.begin(), row.end(), 0);
  EXPECT_TRUE(
      (*executable)->WriteInput(built->positions, BytesOf(std::span(std::as_const(row)))).ok());
  std::iota(row.begin(), row.end(), 3);
  EXPECT_TRUE((*executable)->WriteInput(built->ids, BytesOf(std::span(std::as_const(row)))).ok());
  EXPECT_TRUE((*executable)->Run().ok());
  std::vector<float> logits(
      static_cast<size_t>(built->graph.tensor(built->logits).desc.shape.NumElements()));
  EXPECT_TRUE((*executable)->ReadOutput(built->logits, MutableBytesOf(std::span(logits))).ok());
  return logits;
}

// An independent qwen2 in plain loops over the builder's default sizes.
class PlainQwen2 {
 public:
  PlainQwen2(const GgufFile& file, uint32_t layers) : file_(file), layers_(layers) {}

  Rows Logits(size_t tokens) {
    const std::vector<double> table = ValuesOf(file_, "token_embd.weight");
    Rows h;
    for (size_t t = 0; t < tokens; ++t) {
      const auto row = table.begin() + static_cast<std::ptrdiff_t>((t + 3) * kChannels);
      h.emplace_back(row, row + kChannels);
    }
    for (uint32_t layer = 0; layer < layers_; ++layer) {
      Add(h, Times(Attend(layer, Norm(h, Part(layer, "attn_norm.weight"))),
                   Part(layer, "attn_output")));
      const Rows x = Norm(h, Part(layer, "ffn_norm.weight"));
      Rows gate = Times(x, Part(layer, "ffn_gate"));
      const Rows up = Times(x, Part(layer, "ffn_up"));
      for (size_t t = 0; t < tokens; ++t) {
        for (size_t c = 0; c < gate[t].size(); ++c) {
          gate[t][c] *= up[t][c] / (1 + std::exp(-gate[t][c]));
        }
      }
      Add(h, Times(gate, Part(layer, "ffn_down")));
    }
    return Times(Norm(h, "output_norm.weight"), "token_embd");
  }

 private:
  static constexpr size_t kChannels = 16;
  static constexpr size_t kHeadSize = 4;
  static constexpr size_t kGroup = 2;  // query heads a key head

  static void Add(Rows& x, const Rows& y) {
    for (size_t t = 0; t < x.size(); ++t) {
      for (size_t c = 0; c < x[t].size(); ++c) x[t][c] += y[t][c];
    }
  }

  Rows Norm(Rows x, const std::string& name) {
    const std::vector<double> weight = ValuesOf(file_, name);
    for (std::vector<double>& row : x) {
      const double squares = std::inner_product(row.begin(), row.end(), row.begin(), 0.0);
      const double eps = static_cast<double>(1e-5f);
      const double factor = 1 / std::sqrt(squares / static_cast<double>(row.size()) + eps);
      for (size_t c = 0; c < row.size(); ++c) row[c] *= factor * weight[c];
    }
    return x;
  }

  // x W^T + bias, where there is one.
  Rows Times(const Rows& x, const std::string& name) {
    const std::vector<double> w = ValuesOf(file_, name + ".weight");
    const size_t in = x[0].size();
    std::vector<double> bias(w.size() / in);
    if (file_.FindTensor(name + ".bias") != nullptr) bias = ValuesOf(file_, name + ".bias");
    Rows y;
    for (const std::vector<double>& row : x) {
      y.push_back(bias);
      for (size_t n = 0; n < bias.size(); ++n) {
        for (size_t c = 0; c < in; ++c) y.back()[n] += row[c] * w[n * in + c];
      }
    }
    return y;
  }

  static Rows Turn(Rows x) {
    for (size_t t = 0; t < x.size(); ++t) {
      for (size_t head = 0; head < x[t].size(); head += kHeadSize) {
        for (size_t i = 0; i < kHeadSize / 2; ++i) {
          const double angle =
              static_cast<double>(t) * std::pow(10000, -2.0 * static_cast<double>(i) / kHeadSize);
          double& a = x[t][head + i];
          double& b = x[t][head + i + kHeadSize / 2];
          const double turned = a * std::cos(angle) - b * std::sin(angle);
          b = a * std::sin(angle) + b * std::cos(angle);
          a = turned;
        }
      }
    }
    return x;
  }

  Rows Attend(uint32_t layer, const Rows& x) {
    const Rows q = Turn(Times(x, Part(layer, "attn_q")));
    const Rows k = Turn(Times(x, Part(layer, "attn_k")));
    const Rows v = Times(x, Part(layer, "attn_v"));
    Rows out(x.size(), std::vector<double>(q[0].size()));
    for (size_t t = 0; t < x.size(); ++t) {
      for (size_t head = 0; head < q[0].size() / kHeadSize; ++head) {
        const size_t q_at = head * kHeadSize;
        const size_t k_at = head / kGroup * kHeadSize;
        double sum = 0;
        for (size_t j = 0; j <= t; ++j) {
          double score = 0;
          for (size_t d = 0; d < kHeadSize; ++d) score += q[t][q_at + d] * k[j][k_at + d];
          const double p = std::exp(score / 2);  // sqrt(kHeadSize)
          sum += p;
          for (size_t d = 0; d < kHeadSize; ++d) out[t][q_at + d] += p * v[j][k_at + d];
        }
        for (size_t d = 0; d < kHeadSize; ++d) out[t][q_at + d] /= sum;
      }
    }
    return out;
  }

  const GgufFile& file_;
  uint32_t layers_;
};

TEST(Qwen2Test, LogitsAreThoseOfPlainLoops) {
  const TinyLlamaBuilder builder = Qwen2();
  const std::string bytes = builder.Build();
  const auto file = Parse(bytes);
  ASSERT_TRUE(file.ok());
  const Rows want = PlainQwen2(*file, builder.layers).Logits(4);
  const std::vector<float> got = LogitsOf(bytes, 4);
  ASSERT_EQ(got.size(), 4 * want[0].size());
  for (size_t i = 0; i < got.size(); ++i) {
    // Intermediates of the reference backend are f32.
    ASSERT_NEAR(static_cast<double>(got[i]), want[i / want[0].size()][i % want[0].size()], 1e-5);
  }
}

TEST(Qwen2Test, BiasesMustBeThere) {
  TinyLlamaBuilder builder = Qwen2();
  builder.left_out = {"blk.1.attn_k.bias"};
  builder.dims.erase("blk.1.attn_k.bias");
  EXPECT_EQ(ReadSpec(builder).status().code(), absl::StatusCode::kNotFound);
}

TEST(BitnetTest, ActivationComesFromTheFileOrTheFamily) {
  EXPECT_EQ(ReadSpec(Bitnet("bitnet"))->activation, Activation::kSilu);
  EXPECT_EQ(ReadSpec(Bitnet("bitnet-b1.58"))->activation, Activation::kReluSquared);
  TinyLlamaBuilder builder = Bitnet("bitnet");
  builder.dims["token_embd.weight"] = {16, 128256};
  EXPECT_EQ(ReadSpec(builder)->activation, Activation::kReluSquared);
  builder.string_keys["bitnet.hidden_activation"] = "silu";
  EXPECT_EQ(ReadSpec(builder)->activation, Activation::kSilu);
  builder.string_keys["bitnet.hidden_activation"] = "gelu";
  EXPECT_EQ(ReadSpec(builder).status().code(), absl::StatusCode::kUnimplemented);
}

// The file with each factor multiplied into its weights instead.
std::string WithoutFactors(const GgufFile& file) {
  GgufWriter writer;
  for (const GgufEntry& entry : file.entries()) writer.SetEntry(entry);
  std::vector<std::vector<float>> kept;
  kept.reserve(file.tensors().size());
  for (const GgufTensor& tensor : file.tensors()) {
    if (tensor.name.ends_with(".scale")) continue;
    std::vector<float>& values = kept.emplace_back(tensor.num_elements());
    std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
    const std::string scale = tensor.name.substr(0, tensor.name.rfind('.')) + ".scale";
    if (file.FindTensor(scale) != nullptr) {
      for (float& value : values) value *= static_cast<float>(ValuesOf(file, scale)[0]);
    }
    const std::span dims(tensor.dims.data(), tensor.num_dims);
    EXPECT_TRUE(writer.AddF32(tensor.name, dims, values).ok());
  }
  return *writer.Serialize();
}

TEST(BitnetTest, FactorsMultiplyTheirProjections) {
  TinyLlamaBuilder builder = Bitnet("bitnet-b1.58");
  for (const char* part : {"attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up"}) {
    builder.dims[Part(0, part) + ".scale"] = {1};
  }
  const std::string bytes = builder.Build();
  const auto file = Parse(bytes);
  ASSERT_TRUE(file.ok());
  const std::vector<float> got = LogitsOf(bytes, 4);
  const std::vector<float> want = LogitsOf(WithoutFactors(*file), 4);
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], want[i], 1e-5f);
}

TEST(BitnetTest, FactorsMustBeSingleNumbers) {
  TinyLlamaBuilder builder = Bitnet();
  builder.dims["blk.0.attn_q.scale"] = {16};
  EXPECT_EQ(ReadSpec(builder).status().code(), absl::StatusCode::kInvalidArgument);
  // A norm's factor is no part of the network.
  builder = Bitnet();
  builder.dims["blk.0.attn_norm.scale"] = {1};
  EXPECT_EQ(ReadSpec(builder).status().code(), absl::StatusCode::kUnimplemented);
}

TEST(Gemma3Test, FiveOfSixLayersAreLocal) {
  TinyLlamaBuilder builder = Gemma3(7);
  builder.u32_keys["gemma3.attention.sliding_window"] = 8;
  builder.f32_keys = {{"gemma3.rope.freq_base", 1e6f}, {"gemma3.rope.scaling.factor", 8.0f}};
  builder.string_keys = {{"gemma3.rope.scaling.type", "linear"}};
  const auto spec = ReadSpec(builder);
  ASSERT_TRUE(spec.ok()) << spec.status().ToString();
  EXPECT_EQ(spec->embedding_scale, 4);
  EXPECT_EQ(spec->attention_scale, 0.5);
  for (const size_t layer : {0u, 4u, 6u}) {
    EXPECT_EQ(spec->layers[layer].window, 8) << layer;
    EXPECT_EQ(spec->layers[layer].rope_base, 10000) << layer;
    EXPECT_EQ(spec->layers[layer].rope_pos_scale, 1) << layer;
  }
  EXPECT_EQ(spec->layers[5].window, 0);
  EXPECT_EQ(spec->layers[5].rope_base, 1e6);
  EXPECT_EQ(spec->layers[5].rope_pos_scale, 0.125);
}

TEST(Gemma3Test, KeysOverrideBaseAndPattern) {
  TinyLlamaBuilder builder = Gemma3(3);
  builder.u32_keys = {{"gemma3.attention.sliding_window", 8},
                      {"gemma3.attention.sliding_window_pattern", 2}};
  builder.f32_keys = {{"gemma3.rope.freq_base_swa", 500.0f}};
  const auto spec = ReadSpec(builder);
  ASSERT_TRUE(spec.ok()) << spec.status().ToString();
  EXPECT_EQ(spec->layers[0].rope_base, 500);
  EXPECT_EQ(spec->layers[1].window, 0);
  EXPECT_EQ(spec->layers[2].window, 8);
  builder.f32_keys["gemma3.rope.freq_base_swa"] = 0.0f;
  EXPECT_EQ(ReadSpec(builder).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(Gemma3Test, The27BModelScalesScoresByItsWidth) {
  EXPECT_EQ(ReadSpec(Gemma3(62))->attention_scale, std::sqrt(4.0 / 16.0));
  TinyLlamaBuilder wide = Gemma3(62);
  wide.heads = 2;
  wide.kv_heads = 1;
  wide.u32_keys["gemma3.attention.key_length"] = 4;
  for (uint32_t layer = 0; layer < wide.layers; ++layer) {
    wide.dims[Part(layer, "attn_q.weight")] = {16, 8};
    wide.dims[Part(layer, "attn_k.weight")] = {16, 4};
    wide.dims[Part(layer, "attn_v.weight")] = {16, 4};
    wide.dims[Part(layer, "attn_output.weight")] = {8, 16};
  }
  const auto spec = ReadSpec(wide);
  ASSERT_TRUE(spec.ok()) << spec.status().ToString();
  EXPECT_EQ(spec->attention_scale, std::sqrt(2.0 / 16.0));
}

TEST(Gemma3Test, LogitsAreCapped) {
  TinyLlamaBuilder builder = Gemma3(2);
  const std::vector<float> plain = LogitsOf(builder.Build(), 4);
  builder.f32_keys["gemma3.final_logit_softcapping"] = 0.75f;
  const std::vector<float> capped = LogitsOf(builder.Build(), 4);
  ASSERT_EQ(capped.size(), plain.size());
  for (size_t i = 0; i < plain.size(); ++i) {
    ASSERT_NEAR(capped[i], 0.75f * std::tanh(plain[i] / 0.75f), 1e-6f);
  }
  builder.f32_keys["gemma3.final_logit_softcapping"] = -1.0f;
  EXPECT_EQ(ReadSpec(builder).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace choir::engine
