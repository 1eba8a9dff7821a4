#ifndef CHOIR_ENGINE_MODEL_MODEL_SPEC_H_
#define CHOIR_ENGINE_MODEL_MODEL_SPEC_H_

// What a model file says about its network: sizes and constants, checked against each other and
// against the file's tensors. Nothing else of the engine reads hyperparameters.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "engine/gguf/gguf_file.h"
#include "engine/ops/activation.h"
#include "engine/ops/tensor_desc.h"

namespace choir::engine {

inline constexpr uint32_t kMaxLayers = 512;

// What may differ from layer to layer.
struct LayerSpec {
  int64_t window = 0;  // a token sees this many positions, itself included; 0: all before it
  double rope_base = 10000;
  double rope_pos_scale = 1;
};

// Shape letters as in ops.def: C channels, H heads, KV key/value heads, D head_size, F feed-forward
// size, V vocabulary.
struct ModelSpec {
  std::string architecture;
  int64_t channels = 0;
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;
  int64_t head_size = 0;
  int64_t feed_forward = 0;
  int64_t vocabulary = 0;
  int64_t context_length = 0;
  std::vector<LayerSpec> layers;

  double rms_eps = 1e-5;
  Activation activation = Activation::kSilu;
  double embedding_scale = 1;
  double attention_scale = 1;
  double attention_softcap = 0;  // 0: none
  double logit_softcap = 0;      // 0: none
  int64_t rope_dims = 0;         // columns of a head that are turned
  bool rope_halves = false;      // pairs (i, i + rope_dims/2) instead of (2i, 2i+1)
  bool rope_factors = false;     // the file has rope_freqs.weight
  bool tied_output = false;      // logits from token_embd.weight

  [[nodiscard]] int64_t q_cols() const { return num_heads * head_size; }
  [[nodiscard]] int64_t kv_cols() const { return num_kv_heads * head_size; }
  [[nodiscard]] std::string_view output_weight() const {
    return tied_output ? "token_embd.weight" : "output.weight";
  }
};

// Reads and checks the whole file's description. UNIMPLEMENTED names an architecture or a tensor
// type that this build lacks and lists those it has; INVALID_ARGUMENT or NOT_FOUND names the key or
// tensor that is missing, out of range or of the wrong shape.
absl::StatusOr<ModelSpec> ReadModelSpec(const GgufFile& file);

// "blk.3.attn_q.bias" from (3, "attn_q.bias").
std::string LayerTensorName(int64_t layer, std::string_view name);
// "blk.3.attn_q.weight" from (3, "attn_q").
std::string LayerWeightName(int64_t layer, std::string_view part);

// How a tensor of the file stands as a graph's weight. UNIMPLEMENTED for a format that is unknown.
absl::StatusOr<TensorDesc> WeightDesc(const GgufTensor& tensor);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_MODEL_MODEL_SPEC_H_
