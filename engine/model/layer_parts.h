#ifndef CHOIR_ENGINE_MODEL_LAYER_PARTS_H_
#define CHOIR_ENGINE_MODEL_LAYER_PARTS_H_

// Parts of a layer that several families have in common, for their forward_layer functions.

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"

#include "engine/model/architecture.h"
#include "engine/model/forward_builder.h"

namespace choir::engine {

// Whether queries and keys are normalised head by head, before they are turned.
enum class HeadNorms : bool { kNo, kYes };

// x (T,C) -> the heads side by side (T,H*D), before the projection attn_output.
absl::StatusOr<TensorId> SelfAttention(ForwardBuilder& builder, int64_t layer, TensorId x,
                                       HeadNorms head_norms = HeadNorms::kNo);
// x (T,C) -> act(gate x) * (up x), (T,F), before the projection ffn_down.
absl::StatusOr<TensorId> GatedUnit(ForwardBuilder& builder, int64_t layer, TensorId x);

// The whole layer of llama and what follows it: norm, attention, residual, norm, gated unit,
// residual.
absl::StatusOr<TensorId> PreNormLayer(ForwardBuilder& builder, int64_t layer, TensorId h,
                                      HeadNorms head_norms = HeadNorms::kNo);

// The tensors that PreNormLayer reads, without head norms; for families to start from.
std::vector<NeededTensor> CommonLayerTensors(const ModelSpec& spec, int64_t layer);
// attn_q_norm and attn_k_norm.
std::vector<NeededTensor> HeadNormTensors(const ModelSpec& spec, int64_t layer);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_MODEL_LAYER_PARTS_H_
