#include "engine/model/train_graph.h"

#include <map>
#include <optional>

#include "base/status_macros.h"
#include "engine/graph/autodiff.h"
#include "engine/model/forward_builder.h"
#include "engine/ops/dropout_mask.h"

namespace choir::engine {
namespace {

LossInputs AddLossInputs(Graph& graph, int64_t tokens) {
  return {.ids = graph.AddInput("ids", I32(1, tokens)),
          .positions = graph.AddInput("positions", I32(1, tokens)),
          .segments = graph.AddInput("segments", I32(1, tokens)),
          .targets = graph.AddInput("targets", I32(1, tokens)),
          .loss_weights = graph.AddInput("loss_weights", F32(1, tokens)),
          .loss_scale = graph.AddInput("loss_scale", F32(1, 1))};
}

// The hidden states, the loss of each token, and the gradient of the hidden states if asked for.
struct Loss {
  TensorId hidden = -1;
  TensorId nll = -1;
  TensorId d_hidden = -1;
};

// What training adds to the loss.
struct Training {
  TrainedFactors factors = TrainedFactors::kBoth;
  std::optional<LoraDropout> dropout;
};

ForwardBuilder MakeBuilder(Graph& graph, const Model& model, const AdapterLayout* adapter,
                           const LossInputs& inputs, std::optional<LoraDropout> dropout) {
  return ForwardBuilder(graph, {.file = model.file(),
                                .spec = model.spec(),
                                .adapter = adapter,
                                .positions = inputs.positions,
                                .packed = PackedTokens{inputs.segments},
                                .cached = std::nullopt,
                                .dropout = dropout});
}

TensorId AddGradientOf(Graph& graph, TensorId factor) {
  const Tensor tensor = graph.tensor(factor);
  return graph.AddPersistent(GradientName(tensor.name), tensor.desc);
}

// The loss and, since gradients begin here, those of an adapted output. `training` null: no
// gradient.
absl::Status AddHead(Graph& graph, ForwardBuilder& builder, const LossInputs& inputs,
                     const Training* training, Loss& loss) {
  const std::string_view name = builder.spec().output_weight();
  CHOIR_ASSIGN_OR_RETURN(const TensorId head, builder.Weight(name));
  std::vector<TensorId> call = {loss.hidden, head, inputs.targets, inputs.loss_weights,
                                inputs.loss_scale};
  Attrs attrs;
  const std::optional<ForwardBuilder::Factors> factors = builder.FactorsOf(name);
  if (factors.has_value()) {
    call.insert(call.end(), {factors->a, factors->b});
    attrs = builder.BypassAttributes(*factors, call);
  }
  attrs = attrs.With("with_grad", training != nullptr ? 1 : 0)
              .With("softcap", builder.spec().logit_softcap);
  const bool trains = training != nullptr && factors.has_value();
  std::vector<TensorId> updates;
  if (trains && training->factors != TrainedFactors::kA) {
    updates.push_back(AddGradientOf(graph, factors->b));
  }
  CHOIR_ASSIGN_OR_RETURN(const std::vector<TensorId> outputs,
                         graph.AddNode("lm_head_loss", call, attrs, updates));
  loss.nll = outputs[0];
  graph.MarkOutput(loss.nll);
  if (training != nullptr) loss.d_hidden = outputs[1];
  if (!trains || training->factors == TrainedFactors::kB) return absl::OkStatus();
  std::vector<TensorId> product = {outputs[2], loss.hidden};
  if (HasDropout(attrs)) product.push_back(call.back());
  return graph
      .AddNode("lora_grad", std::move(product), WithDropoutOf(attrs, {{"scale", 1}}),
               {AddGradientOf(graph, factors->a)})
      .status();
}

absl::StatusOr<Loss> AddLoss(Graph& graph, const Model& model, const AdapterLayout* adapter,
                             const LossInputs& inputs, const Training* training) {
  ForwardBuilder builder =
      MakeBuilder(graph, model, adapter, inputs,
                  training != nullptr ? training->dropout : std::optional<LoraDropout>());
  Loss loss;
  CHOIR_ASSIGN_OR_RETURN(loss.hidden, builder.HiddenStates(inputs.ids));
  CHOIR_RETURN_IF_ERROR(AddHead(graph, builder, inputs, training, loss));
  return loss;
}

// Each trained factor and the persistent tensor of its gradient; without those of the output, which
// have theirs.
absl::StatusOr<std::map<TensorId, TensorId>> AddGradients(Graph& graph,
                                                          const AdapterLayout& adapter,
                                                          std::string_view output,
                                                          TrainedFactors factors) {
  std::map<TensorId, TensorId> gradients;
  for (const AdapterSlot& slot : adapter.slots) {
    if (slot.name == output) continue;
    std::vector<std::string> names;
    if (factors != TrainedFactors::kB) names.push_back(slot.a_name());
    if (factors != TrainedFactors::kA) names.push_back(slot.b_name());
    for (const std::string& name : names) {
      CHOIR_ASSIGN_OR_RETURN(const TensorId factor, graph.Find(name));
      gradients[factor] = AddGradientOf(graph, factor);
    }
  }
  return gradients;
}

}  // namespace

absl::StatusOr<TrainGraph> BuildTrainGraph(const Model& model, const AdapterLayout& adapter,
                                           const TrainGraphOptions& options) {
  TrainGraph result;
  result.inputs = AddLossInputs(result.graph, options.tokens);
  Training training{.factors = options.factors, .dropout = std::nullopt};
  if (options.dropout > 0) {
    result.dropout_key = result.graph.AddInput("dropout_key", I32(1, kDropoutKeyWords));
    training.dropout = {.rate = options.dropout, .key = result.dropout_key};
  }
  CHOIR_ASSIGN_OR_RETURN(const Loss loss,
                         AddLoss(result.graph, model, &adapter, result.inputs, &training));
  result.nll = loss.nll;
  CHOIR_ASSIGN_OR_RETURN(
      const auto gradients,
      AddGradients(result.graph, adapter, model.spec().output_weight(), options.factors));
  CHOIR_RETURN_IF_ERROR(
      AppendBackward(
          result.graph, {{loss.hidden, loss.d_hidden}}, gradients,
          {.recomputed_blocks = options.recomputed_blocks, .kept = options.kept, .wanted = {}})
          .status());
  return result;
}

absl::StatusOr<EvalGraph> BuildEvalGraph(const Model& model, const AdapterLayout* adapter,
                                         int64_t tokens) {
  EvalGraph result;
  result.inputs = AddLossInputs(result.graph, tokens);
  CHOIR_ASSIGN_OR_RETURN(const Loss loss,
                         AddLoss(result.graph, model, adapter, result.inputs, nullptr));
  result.nll = loss.nll;
  return result;
}

}  // namespace choir::engine
