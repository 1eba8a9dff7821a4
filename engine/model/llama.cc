#include <fmt/format.h>

#include "base/status_macros.h"
#include "engine/model/architectures.h"
#include "engine/model/forward_builder.h"

// Llama 2 and 3 (Touvron et al. 2023, Grattafiori et al. 2024): RMS norm before attention and
// feed-forward, rotary positions over adjacent pairs, grouped-query attention, SwiGLU. Llama 3.1's
// long-context frequencies come as the tensor rope_freqs.

namespace choir::engine {
namespace {

absl::Status CompleteSpec(const GgufFile& file, ModelSpec& spec) {
  CHOIR_ASSIGN_OR_RETURN(const uint32_t experts, file.GetU32("llama.expert_count", 0));
  if (experts != 0) {
    return absl::UnimplementedError(
        fmt::format("the model has {} experts; mixtures of experts are not supported", experts));
  }
  spec.rope_halves = false;
  spec.activation = Activation::kSilu;
  return absl::OkStatus();
}

absl::StatusOr<TensorId> AttentionBranch(ForwardBuilder& builder, int64_t layer, TensorId h) {
  CHOIR_ASSIGN_OR_RETURN(const TensorId x, builder.LayerNorm(layer, "attn_norm", h));
  CHOIR_ASSIGN_OR_RETURN(const TensorId q, builder.Linear(layer, "attn_q", x));
  CHOIR_ASSIGN_OR_RETURN(const TensorId k, builder.Linear(layer, "attn_k", x));
  CHOIR_ASSIGN_OR_RETURN(const TensorId v, builder.Linear(layer, "attn_v", x));
  CHOIR_ASSIGN_OR_RETURN(const TensorId turned_q, builder.Rope(layer, q));
  CHOIR_ASSIGN_OR_RETURN(const TensorId turned_k, builder.Rope(layer, k));
  CHOIR_ASSIGN_OR_RETURN(const TensorId o, builder.Attention(layer, turned_q, turned_k, v));
  return builder.Linear(layer, "attn_output", o);
}

absl::StatusOr<TensorId> FeedForwardBranch(ForwardBuilder& builder, int64_t layer, TensorId h) {
  CHOIR_ASSIGN_OR_RETURN(const TensorId x, builder.LayerNorm(layer, "ffn_norm", h));
  CHOIR_ASSIGN_OR_RETURN(const TensorId gate, builder.Linear(layer, "ffn_gate", x));
  CHOIR_ASSIGN_OR_RETURN(const TensorId up, builder.Linear(layer, "ffn_up", x));
  CHOIR_ASSIGN_OR_RETURN(const TensorId gated, builder.Glu(gate, up));
  return builder.Linear(layer, "ffn_down", gated);
}

absl::StatusOr<TensorId> ForwardLayer(ForwardBuilder& builder, int64_t layer, TensorId h) {
  CHOIR_ASSIGN_OR_RETURN(const TensorId attended, AttentionBranch(builder, layer, h));
  CHOIR_ASSIGN_OR_RETURN(const TensorId middle, builder.Add(h, attended));
  CHOIR_ASSIGN_OR_RETURN(const TensorId fed, FeedForwardBranch(builder, layer, middle));
  return builder.Add(middle, fed);
}

}  // namespace

const Architecture kLlamaArchitecture = {"llama", CompleteSpec, CommonLayerTensors, ForwardLayer};

}  // namespace choir::engine
