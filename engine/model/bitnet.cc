#include <fmt/format.h>

#include "base/status_macros.h"
#include "engine/model/architectures.h"
#include "engine/model/key_reader.h"
#include "engine/model/layer_parts.h"

// BitNet b1.58 (Ma et al. 2024, 2025): llama's layers with ternary weights and a norm before each
// branch's last projection; rotary positions over the halves of a head. A file may keep weights at
// -1, 0 and 1 and give each projection a factor (attn_q.scale and so on).
//
// The activation, in this order:
//   <architecture>.hidden_activation   "silu" or "relu2", if the file says it;
//   architecture "bitnet-b1.58"        squared ReLU: Microsoft's 2B-4T as its own converter names
//   it; vocabulary of 128256 tokens        squared ReLU: the same model under the name "bitnet"
//   (its
//                                      tokenizer is Llama 3's, the other family's is Llama 2's);
//   else                               SiLU: the 1bitLLM family and those trained after it.

namespace choir::engine {
namespace {

constexpr std::string_view kBitnet158 = "bitnet-b1.58";
constexpr int64_t kLlama3Vocabulary = 128256;

absl::Status CompleteSpec(const GgufFile& file, ModelSpec& spec) {
  const KeyReader keys(file, spec.architecture);
  const bool microsoft = spec.architecture == kBitnet158 || spec.vocabulary == kLlama3Vocabulary;
  CHOIR_ASSIGN_OR_RETURN(const std::string_view activation,
                         keys.String("hidden_activation", microsoft ? "relu2" : "silu"));
  if (activation != "silu" && activation != "relu2") {
    return absl::UnimplementedError(fmt::format("{} is \"{}\"; this build knows silu and relu2",
                                                keys.Full("hidden_activation"), activation));
  }
  spec.activation = activation == "silu" ? Activation::kSilu : Activation::kReluSquared;
  spec.rope_halves = true;
  return absl::OkStatus();
}

std::vector<NeededTensor> LayerTensors(const ModelSpec& spec, int64_t layer) {
  std::vector<NeededTensor> tensors = CommonLayerTensors(spec, layer);
  tensors.push_back(NeededTensor::Vector(LayerWeightName(layer, "attn_sub_norm"), spec.q_cols()));
  tensors.push_back(
      NeededTensor::Vector(LayerWeightName(layer, "ffn_sub_norm"), spec.feed_forward));
  for (const std::string_view part : kBlockModuleNames) {
    tensors.push_back(
        NeededTensor::OptionalFactor(LayerTensorName(layer, fmt::format("{}.scale", part))));
  }
  return tensors;
}

absl::StatusOr<TensorId> AttentionBranch(ForwardBuilder& builder, int64_t layer, TensorId h) {
  CHOIR_ASSIGN_OR_RETURN(const TensorId x, builder.LayerNorm(layer, "attn_norm", h));
  CHOIR_ASSIGN_OR_RETURN(const TensorId heads, SelfAttention(builder, layer, x));
  CHOIR_ASSIGN_OR_RETURN(const TensorId normed, builder.LayerNorm(layer, "attn_sub_norm", heads));
  return builder.Linear(layer, "attn_output", normed);
}

absl::StatusOr<TensorId> FeedForwardBranch(ForwardBuilder& builder, int64_t layer, TensorId h) {
  CHOIR_ASSIGN_OR_RETURN(const TensorId x, builder.LayerNorm(layer, "ffn_norm", h));
  CHOIR_ASSIGN_OR_RETURN(const TensorId gated, GatedUnit(builder, layer, x));
  CHOIR_ASSIGN_OR_RETURN(const TensorId normed, builder.LayerNorm(layer, "ffn_sub_norm", gated));
  return builder.Linear(layer, "ffn_down", normed);
}

absl::StatusOr<TensorId> ForwardLayer(ForwardBuilder& builder, int64_t layer, TensorId h) {
  CHOIR_ASSIGN_OR_RETURN(const TensorId attended, AttentionBranch(builder, layer, h));
  CHOIR_ASSIGN_OR_RETURN(const TensorId middle, builder.Add(h, attended));
  CHOIR_ASSIGN_OR_RETURN(const TensorId fed, FeedForwardBranch(builder, layer, middle));
  return builder.Add(middle, fed);
}

}  // namespace

const Architecture kBitnetArchitecture = {"bitnet", CompleteSpec, LayerTensors, ForwardLayer};
const Architecture kBitnet158Architecture = {kBitnet158, CompleteSpec, LayerTensors, ForwardLayer};

}  // namespace choir::engine
