#include "engine/model/architectures.h"
#include "engine/model/layer_parts.h"

// Qwen 3, dense (Qwen Team 2025): llama's layers with an RMS norm on each head of queries and keys,
// rotary positions over the halves of a head, and heads whose size is not C / H.

namespace choir::engine {
namespace {

absl::Status CompleteSpec(const GgufFile& /*file*/, ModelSpec& spec) {
  spec.rope_halves = true;
  spec.activation = Activation::kSilu;
  return absl::OkStatus();
}

std::vector<NeededTensor> LayerTensors(const ModelSpec& spec, int64_t layer) {
  std::vector<NeededTensor> tensors = CommonLayerTensors(spec, layer);
  for (NeededTensor& norm : HeadNormTensors(spec, layer)) tensors.push_back(std::move(norm));
  return tensors;
}

absl::StatusOr<TensorId> ForwardLayer(ForwardBuilder& builder, int64_t layer, TensorId h) {
  return PreNormLayer(builder, layer, h, HeadNorms::kYes);
}

}  // namespace

const Architecture kQwen3Architecture = {"qwen3", CompleteSpec, LayerTensors, ForwardLayer};

}  // namespace choir::engine
