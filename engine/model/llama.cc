#include <fmt/format.h>

#include "base/status_macros.h"
#include "engine/model/architectures.h"
#include "engine/model/layer_parts.h"

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

absl::StatusOr<TensorId> ForwardLayer(ForwardBuilder& builder, int64_t layer, TensorId h) {
  return PreNormLayer(builder, layer, h);
}

}  // namespace

const Architecture kLlamaArchitecture = {"llama", CompleteSpec, CommonLayerTensors, ForwardLayer};

}  // namespace choir::engine
