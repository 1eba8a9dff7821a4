#include <cmath>

#include "base/status_macros.h"
#include "engine/model/architectures.h"
#include "engine/model/key_reader.h"
#include "engine/model/layer_parts.h"

// Gemma 3, the text model (Gemma Team 2025): norms before and after attention and feed-forward, an
// RMS norm on each head of queries and keys, GELU, embeddings times sqrt(C). Of every six layers
// five see a window only and turn with a base of their own; the sixth sees everything, and its
// positions may be scaled. The file's norm weights already hold 1 + w.

namespace choir::engine {
namespace {

constexpr uint32_t kMaxWindow = uint32_t{1} << 26;
// The 27B model divides its scores by sqrt(C / H), all others by sqrt(D); no key says so, its
// number of layers does.
constexpr size_t kLayersOf27B = 62;

// Without attention.sliding_window every layer sees everything.
absl::Status ReadWindows(const KeyReader& keys, ModelSpec& spec) {
  if (!keys.Has("attention.sliding_window")) return absl::OkStatus();
  CHOIR_ASSIGN_OR_RETURN(const int64_t window, keys.Size("attention.sliding_window", kMaxWindow));
  CHOIR_ASSIGN_OR_RETURN(const int64_t pattern,
                         keys.Size("attention.sliding_window_pattern", kMaxLayers, 6));
  CHOIR_ASSIGN_OR_RETURN(const double base, keys.Number("rope.freq_base_swa", 1, 1e12, 10000.0f));
  for (size_t layer = 0; layer < spec.layers.size(); ++layer) {
    if ((static_cast<int64_t>(layer) + 1) % pattern == 0) continue;
    spec.layers[layer] = {.window = window, .rope_base = base, .rope_pos_scale = 1};
  }
  return absl::OkStatus();
}

absl::Status CompleteSpec(const GgufFile& file, ModelSpec& spec) {
  const KeyReader keys(file, spec.architecture);
  spec.rope_halves = true;
  spec.activation = Activation::kGeluTanh;
  spec.embedding_scale = std::sqrt(static_cast<double>(spec.channels));
  if (spec.layers.size() == kLayersOf27B) {
    spec.attention_scale =
        std::sqrt(static_cast<double>(spec.num_heads) / static_cast<double>(spec.channels));
  }
  if (keys.Has("final_logit_softcapping")) {
    CHOIR_ASSIGN_OR_RETURN(spec.logit_softcap, keys.Number("final_logit_softcapping", 1e-3, 1e6));
  }
  return ReadWindows(keys, spec);
}

std::vector<NeededTensor> LayerTensors(const ModelSpec& spec, int64_t layer) {
  std::vector<NeededTensor> tensors = CommonLayerTensors(spec, layer);
  for (NeededTensor& norm : HeadNormTensors(spec, layer)) tensors.push_back(std::move(norm));
  for (const std::string_view part : {"post_attention_norm", "post_ffw_norm"}) {
    tensors.push_back(NeededTensor::Vector(LayerWeightName(layer, part), spec.channels));
  }
  return tensors;
}

absl::StatusOr<TensorId> AttentionBranch(ForwardBuilder& builder, int64_t layer, TensorId h) {
  CHOIR_ASSIGN_OR_RETURN(const TensorId x, builder.LayerNorm(layer, "attn_norm", h));
  CHOIR_ASSIGN_OR_RETURN(const TensorId heads, SelfAttention(builder, layer, x, HeadNorms::kYes));
  CHOIR_ASSIGN_OR_RETURN(const TensorId attended, builder.Linear(layer, "attn_output", heads));
  return builder.LayerNorm(layer, "post_attention_norm", attended);
}

absl::StatusOr<TensorId> FeedForwardBranch(ForwardBuilder& builder, int64_t layer, TensorId h) {
  CHOIR_ASSIGN_OR_RETURN(const TensorId x, builder.LayerNorm(layer, "ffn_norm", h));
  CHOIR_ASSIGN_OR_RETURN(const TensorId gated, GatedUnit(builder, layer, x));
  CHOIR_ASSIGN_OR_RETURN(const TensorId fed, builder.Linear(layer, "ffn_down", gated));
  return builder.LayerNorm(layer, "post_ffw_norm", fed);
}

absl::StatusOr<TensorId> ForwardLayer(ForwardBuilder& builder, int64_t layer, TensorId h) {
  CHOIR_ASSIGN_OR_RETURN(const TensorId attended, AttentionBranch(builder, layer, h));
  CHOIR_ASSIGN_OR_RETURN(const TensorId middle, builder.Add(h, attended));
  CHOIR_ASSIGN_OR_RETURN(const TensorId fed, FeedForwardBranch(builder, layer, middle));
  return builder.Add(middle, fed);
}

}  // namespace

const Architecture kGemma3Architecture = {"gemma3", CompleteSpec, LayerTensors, ForwardLayer};

}  // namespace choir::engine
