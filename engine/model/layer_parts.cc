#include "engine/model/layer_parts.h"

#include "base/status_macros.h"

namespace choir::engine {

absl::StatusOr<TensorId> SelfAttention(ForwardBuilder& builder, int64_t layer, TensorId x,
                                       HeadNorms head_norms) {
  CHOIR_ASSIGN_OR_RETURN(TensorId q, builder.Linear(layer, "attn_q", x));
  CHOIR_ASSIGN_OR_RETURN(TensorId k, builder.Linear(layer, "attn_k", x));
  CHOIR_ASSIGN_OR_RETURN(const TensorId v, builder.Linear(layer, "attn_v", x));
  if (head_norms == HeadNorms::kYes) {
    const ModelSpec& spec = builder.spec();
    CHOIR_ASSIGN_OR_RETURN(q, builder.LayerNorm(layer, "attn_q_norm", q, spec.num_heads));
    CHOIR_ASSIGN_OR_RETURN(k, builder.LayerNorm(layer, "attn_k_norm", k, spec.num_kv_heads));
  }
  CHOIR_ASSIGN_OR_RETURN(const TensorId turned_q, builder.Rope(layer, q));
  CHOIR_ASSIGN_OR_RETURN(const TensorId turned_k, builder.Rope(layer, k));
  return builder.Attention(layer, turned_q, turned_k, v);
}

absl::StatusOr<TensorId> GatedUnit(ForwardBuilder& builder, int64_t layer, TensorId x) {
  CHOIR_ASSIGN_OR_RETURN(const TensorId gate, builder.Linear(layer, "ffn_gate", x));
  CHOIR_ASSIGN_OR_RETURN(const TensorId up, builder.Linear(layer, "ffn_up", x));
  return builder.Glu(gate, up);
}

absl::StatusOr<TensorId> PreNormLayer(ForwardBuilder& builder, int64_t layer, TensorId h,
                                      HeadNorms head_norms) {
  CHOIR_ASSIGN_OR_RETURN(const TensorId x, builder.LayerNorm(layer, "attn_norm", h));
  CHOIR_ASSIGN_OR_RETURN(const TensorId heads, SelfAttention(builder, layer, x, head_norms));
  CHOIR_ASSIGN_OR_RETURN(const TensorId attended, builder.Linear(layer, "attn_output", heads));
  CHOIR_ASSIGN_OR_RETURN(const TensorId middle, builder.Add(h, attended));
  CHOIR_ASSIGN_OR_RETURN(const TensorId y, builder.LayerNorm(layer, "ffn_norm", middle));
  CHOIR_ASSIGN_OR_RETURN(const TensorId gated, GatedUnit(builder, layer, y));
  CHOIR_ASSIGN_OR_RETURN(const TensorId fed, builder.Linear(layer, "ffn_down", gated));
  return builder.Add(middle, fed);
}

std::vector<NeededTensor> CommonLayerTensors(const ModelSpec& spec, int64_t layer) {
  const auto matrix = [&](std::string_view part, int64_t rows, int64_t cols) {
    return NeededTensor::Matrix(LayerWeightName(layer, part), rows, cols);
  };
  const auto vector = [&](std::string_view part, int64_t cols) {
    return NeededTensor::Vector(LayerWeightName(layer, part), cols);
  };
  return {vector("attn_norm", spec.channels),
          matrix("attn_q", spec.q_cols(), spec.channels),
          matrix("attn_k", spec.kv_cols(), spec.channels),
          matrix("attn_v", spec.kv_cols(), spec.channels),
          matrix("attn_output", spec.channels, spec.q_cols()),
          vector("ffn_norm", spec.channels),
          matrix("ffn_gate", spec.feed_forward, spec.channels),
          matrix("ffn_up", spec.feed_forward, spec.channels),
          matrix("ffn_down", spec.channels, spec.feed_forward)};
}

std::vector<NeededTensor> HeadNormTensors(const ModelSpec& spec, int64_t layer) {
  return {NeededTensor::Vector(LayerWeightName(layer, "attn_q_norm"), spec.head_size),
          NeededTensor::Vector(LayerWeightName(layer, "attn_k_norm"), spec.head_size)};
}

}  // namespace choir::engine
