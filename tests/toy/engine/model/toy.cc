#include "base/status_macros.h"
#include "engine/model/architectures.h"
#include "engine/model/layer_parts.h"

// A network of no use: attention and feed-forward side by side after one norm, ReLU squared.

namespace choir::engine {
namespace {

absl::Status CompleteSpec(const GgufFile& /*file*/, ModelSpec& spec) {
  spec.rope_halves = true;
  spec.activation = Activation::kReluSquared;
  return absl::OkStatus();
}

std::vector<NeededTensor> LayerTensors(const ModelSpec& spec, int64_t layer) {
  std::vector<NeededTensor> tensors = CommonLayerTensors(spec, layer);
  std::erase_if(
      tensors, [](const NeededTensor& tensor) { return tensor.name.ends_with("ffn_norm.weight"); });
  return tensors;
}

absl::StatusOr<TensorId> ForwardLayer(ForwardBuilder& builder, int64_t layer, TensorId h) {
  CHOIR_ASSIGN_OR_RETURN(const TensorId x, builder.LayerNorm(layer, "attn_norm", h));
  CHOIR_ASSIGN_OR_RETURN(const TensorId heads, SelfAttention(builder, layer, x));
  CHOIR_ASSIGN_OR_RETURN(const TensorId attended, builder.Linear(layer, "attn_output", heads));
  CHOIR_ASSIGN_OR_RETURN(const TensorId gated, GatedUnit(builder, layer, x));
  CHOIR_ASSIGN_OR_RETURN(const TensorId fed, builder.Linear(layer, "ffn_down", gated));
  CHOIR_ASSIGN_OR_RETURN(const TensorId sum, builder.Add(attended, fed));
  return builder.Add(h, sum);
}

}  // namespace

const Architecture kToyArchitecture = {"toy", CompleteSpec, LayerTensors, ForwardLayer};

}  // namespace choir::engine
