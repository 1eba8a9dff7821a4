#ifndef CHOIR_ENGINE_LORA_PEFT_MODULES_H_
#define CHOIR_ENGINE_LORA_PEFT_MODULES_H_

// The two names and the two row orders of a projection: GGUF's and Hugging Face's.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

#include "engine/lora/adapter.h"

namespace choir::engine {

// What of a base model decides how its adapters stand in a PEFT directory.
struct PeftBase {
  std::string architecture;  // general.architecture
  std::string name;          // for base_model_name_or_path; may be empty
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;
  // The GGUF model turns adjacent rows (2i, 2i+1) of a head of q and k, where Hugging Face's turns
  // rows (i, i + head/2): the llama family. Its converter reorders the rows, so an adapter's B must
  // be too.
  bool reorders_heads = false;
};

// "model.layers.3.self_attn.q_proj" for "blk.3.attn_q.weight", "lm_head" for "output.weight",
// "model.embed_tokens" for "token_embd.weight"; nothing for any other name.
std::optional<std::string> PeftModuleName(std::string_view base_tensor);
// The inverse. Also takes the names of models whose text part is nested, as Gemma 3's:
// "model.language_model.layers.3...", "language_model.model.layers.3...".
std::optional<std::string> BaseTensorName(std::string_view peft_module);

// Lookups have A and B the other way round: PEFT's lora_embedding_A (rank, vocabulary) is our B
// transposed, its lora_embedding_B (channels, rank) our A transposed; llama.cpp's lora_a and lora_b
// (rank the fastest axis of both) are our B and our A transposed.
bool IsLookup(std::string_view base_tensor);
// (rows, cols) row-major -> (cols, rows).
std::vector<float> Transposed(std::span<const float> values, int64_t rows, int64_t cols);

// Brings the rows of B from Hugging Face's order to GGUF's, where the pair is a q or k of a model
// that reorders them; else does nothing. INVALID_ARGUMENT if the rows are no whole, even heads.
absl::Status RowsToGguf(const PeftBase& base, LoraPair& pair);
absl::Status RowsToPeft(const PeftBase& base, LoraPair& pair);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_LORA_PEFT_MODULES_H_
