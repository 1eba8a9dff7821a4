#include "tests/support/tiny_llama_builder.h"

#include <cmath>

#include "base/check.h"
#include "base/random.h"
#include "engine/gguf/gguf_file.h"
#include "engine/gguf/gguf_writer.h"
#include "tests/support/vocabulary_builder.h"

namespace choir {
namespace {

using Dims = std::map<std::string, std::vector<uint64_t>>;

Dims AllDims(const TinyLlamaBuilder& model, uint64_t vocabulary) {
  const uint64_t head_size = model.channels / model.heads;
  Dims dims;
  dims["token_embd.weight"] = {model.channels, vocabulary};
  dims["output_norm.weight"] = {model.channels};
  for (uint32_t layer = 0; layer < model.layers; ++layer) {
    const auto name = [layer](const char* part) {
      return "blk." + std::to_string(layer) + "." + part + ".weight";
    };
    dims[name("attn_norm")] = {model.channels};
    dims[name("attn_q")] = {model.channels, model.heads * head_size};
    dims[name("attn_k")] = {model.channels, model.kv_heads * head_size};
    dims[name("attn_v")] = {model.channels, model.kv_heads * head_size};
    dims[name("attn_output")] = {model.heads * head_size, model.channels};
    dims[name("ffn_norm")] = {model.channels};
    dims[name("ffn_gate")] = {model.channels, model.feed_forward};
    dims[name("ffn_up")] = {model.channels, model.feed_forward};
    dims[name("ffn_down")] = {model.feed_forward, model.channels};
  }
  for (const std::string& name : model.left_out) dims.erase(name);
  for (const auto& [name, changed] : model.dims) dims[name] = changed;
  return dims;
}

// Norms around 1, matrices of a size that keeps activations near 1.
std::vector<float> DrawWeights(const std::vector<uint64_t>& dims, SeededRng& rng) {
  uint64_t count = 1;
  for (const uint64_t extent : dims) count *= extent;
  const double spread = 1 / std::sqrt(static_cast<double>(dims[0]));
  std::vector<float> values(count);
  for (float& value : values) {
    const double drawn = rng.NextNormal();
    value = static_cast<float>(dims.size() == 1 ? 1 + 0.1 * drawn : spread * drawn);
  }
  return values;
}

void SetMetadata(const TinyLlamaBuilder& model, engine::GgufWriter& writer) {
  const auto own = [&model](const char* name) { return model.architecture + "." + name; };
  writer.SetString("general.architecture", model.architecture);
  writer.SetU32(own("block_count"), model.layers);
  writer.SetU32(own("embedding_length"), model.channels);
  writer.SetU32(own("attention.head_count"), model.heads);
  writer.SetU32(own("attention.head_count_kv"), model.kv_heads);
  writer.SetU32(own("feed_forward_length"), model.feed_forward);
  writer.SetU32(own("context_length"), model.context);
  writer.SetF32(own("attention.layer_norm_rms_epsilon"), 1e-5f);
  for (const auto& [key, value] : model.u32_keys) writer.SetU32(key, value);
  for (const auto& [key, value] : model.f32_keys) writer.SetF32(key, value);
  for (const auto& [key, value] : model.string_keys) writer.SetString(key, value);
}

}  // namespace

std::string TinyLlamaBuilder::Build() const {
  const VocabularyBuilder vocabulary;
  const std::string vocabulary_bytes = vocabulary.Build();
  const auto parsed = engine::GgufFile::Parse(
      {reinterpret_cast<const uint8_t*>(vocabulary_bytes.data()), vocabulary_bytes.size()});
  CHOIR_CHECK(parsed.ok());
  engine::GgufWriter writer;
  for (const engine::GgufEntry& entry : parsed->entries()) writer.SetEntry(entry);
  SetMetadata(*this, writer);
  SeededRng rng(seed);
  const Dims all = AllDims(*this, vocabulary.tokens.size());
  std::map<std::string, std::vector<float>> weights;
  for (const auto& [name, shape] : all) {
    weights[name] = DrawWeights(shape, rng);
    CHOIR_CHECK(writer.AddF32(name, shape, weights[name]).ok());
  }
  const auto bytes = writer.Serialize();
  CHOIR_CHECK(bytes.ok());
  return *bytes;
}

}  // namespace choir
