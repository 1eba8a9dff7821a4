#ifndef CHOIR_ENGINE_MODEL_MODEL_H_
#define CHOIR_ENGINE_MODEL_MODEL_H_

// A base model: the mapped file, what it describes, and its tokenizer. Opening one reads the header
// and the vocabulary only. Immutable, so thread-safe; movable.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "base/mapped_file.h"
#include "base/sha256.h"
#include "engine/gguf/gguf_file.h"
#include "engine/lora/adapter.h"
#include "engine/model/model_spec.h"
#include "engine/tokenizer/tokenizer.h"

namespace choir::engine {

class Model {
 public:
  // Errors of MappedFile, GgufFile, ReadModelSpec and LoadTokenizer, with the path before them. A
  // file without tokenizer, or with one of a kind that this build lacks, opens all the same: its
  // network can be run on token ids, and the tokenizer's functions tell why there is none.
  static absl::StatusOr<Model> Open(const std::string& path);

  [[nodiscard]] const ModelSpec& spec() const { return spec_; }
  [[nodiscard]] const GgufFile& file() const { return file_; }
  [[nodiscard]] const Tokenizer& tokenizer() const { return *tokenizer_; }

  // The matrices that an adapter can change, in canonical order (block, then attn_q attn_k attn_v
  // attn_output ffn_gate ffn_up ffn_down; then output and token_embd, unless they are tied).
  [[nodiscard]] std::vector<LoraTarget> LoraTargets() const;

  // SHA-256 of the mapped bytes: the name of the model in a federation. Reads the whole file, so
  // seconds for gigabytes; not cached.
  [[nodiscard]] Digest Sha256() const;

  // INVALID_ARGUMENT names the first id outside the vocabulary: what enters a graph must pass.
  [[nodiscard]] absl::Status CheckTokens(std::span<const int32_t> ids) const;

 private:
  Model(MappedFile map, GgufFile file, ModelSpec spec, std::unique_ptr<Tokenizer> tokenizer);

  MappedFile map_;
  GgufFile file_;  // views into map_
  ModelSpec spec_;
  std::unique_ptr<Tokenizer> tokenizer_;
};

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_MODEL_MODEL_H_
