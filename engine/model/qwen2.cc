#include "engine/model/architectures.h"
#include "engine/model/layer_parts.h"

// Qwen 2 and 2.5 (Yang et al. 2024): llama's layers with a bias on queries, keys and values, and
// rotary positions over the halves of a head.

namespace choir::engine {
namespace {

absl::Status CompleteSpec(const GgufFile& /*file*/, ModelSpec& spec) {
  spec.rope_halves = true;
  spec.activation = Activation::kSilu;
  return absl::OkStatus();
}

std::vector<NeededTensor> LayerTensors(const ModelSpec& spec, int64_t layer) {
  std::vector<NeededTensor> tensors = CommonLayerTensors(spec, layer);
  tensors.push_back(NeededTensor::Vector(LayerTensorName(layer, "attn_q.bias"), spec.q_cols()));
  tensors.push_back(NeededTensor::Vector(LayerTensorName(layer, "attn_k.bias"), spec.kv_cols()));
  tensors.push_back(NeededTensor::Vector(LayerTensorName(layer, "attn_v.bias"), spec.kv_cols()));
  return tensors;
}

absl::StatusOr<TensorId> ForwardLayer(ForwardBuilder& builder, int64_t layer, TensorId h) {
  return PreNormLayer(builder, layer, h);
}

}  // namespace

const Architecture kQwen2Architecture = {"qwen2", CompleteSpec, LayerTensors, ForwardLayer};

}  // namespace choir::engine
