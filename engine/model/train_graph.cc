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

absl::StatusOr<Loss> AddLoss(Graph& graph, const Model& model, const AdapterLayout* adapter,
                             const LossInputs& inputs, bool with_grad,
                             std::optional<LoraDropout> dropout) {
  const ModelSpec& spec = model.spec();
  ForwardBuilder builder(graph, {.file = model.file(),
                                 .spec = spec,
                                 .adapter = adapter,
                                 .positions = inputs.positions,
                                 .packed = PackedTokens{inputs.segments},
                                 .cached = std::nullopt,
                                 .dropout = dropout});
  Loss loss;
  CHOIR_ASSIGN_OR_RETURN(loss.hidden, builder.HiddenStates(inputs.ids));
  CHOIR_ASSIGN_OR_RETURN(const TensorId head, builder.Weight(spec.output_weight()));
  CHOIR_ASSIGN_OR_RETURN(
      const std::vector<TensorId> outputs,
      graph.AddNode("lm_head_loss",
                    {loss.hidden, head, inputs.targets, inputs.loss_weights, inputs.loss_scale},
                    {{"with_grad", with_grad ? 1 : 0}, {"softcap", spec.logit_softcap}}));
  loss.nll = outputs[0];
  if (with_grad) loss.d_hidden = outputs[1];
  graph.MarkOutput(loss.nll);
  return loss;
}

// Each trained factor and the persistent tensor of its gradient.
absl::StatusOr<std::map<TensorId, TensorId>> AddGradients(Graph& graph,
                                                          const AdapterLayout& adapter,
                                                          TrainedFactors factors) {
  std::map<TensorId, TensorId> gradients;
  for (const AdapterSlot& slot : adapter.slots) {
    std::vector<std::string> names;
    if (factors != TrainedFactors::kB) names.push_back(slot.a_name());
    if (factors != TrainedFactors::kA) names.push_back(slot.b_name());
    for (const std::string& name : names) {
      CHOIR_ASSIGN_OR_RETURN(const TensorId factor, graph.Find(name));
      gradients[factor] = graph.AddPersistent(GradientName(name), graph.tensor(factor).desc);
    }
  }
  return gradients;
}

}  // namespace

absl::StatusOr<TrainGraph> BuildTrainGraph(const Model& model, const AdapterLayout& adapter,
                                           const TrainGraphOptions& options) {
  TrainGraph result;
  result.inputs = AddLossInputs(result.graph, options.tokens);
  std::optional<LoraDropout> dropout;
  if (options.dropout > 0) {
    result.dropout_key = result.graph.AddInput("dropout_key", I32(1, kDropoutKeyWords));
    dropout = {.rate = options.dropout, .key = result.dropout_key};
  }
  CHOIR_ASSIGN_OR_RETURN(const Loss loss,
                         AddLoss(result.graph, model, &adapter, result.inputs, true, dropout));
  result.nll = loss.nll;
  CHOIR_ASSIGN_OR_RETURN(const auto gradients,
                         AddGradients(result.graph, adapter, options.factors));
  CHOIR_RETURN_IF_ERROR(AppendBackward(result.graph, {{loss.hidden, loss.d_hidden}}, gradients,
                                       {.checkpoint_blocks = options.checkpoint, .wanted = {}})
                            .status());
  return result;
}

absl::StatusOr<EvalGraph> BuildEvalGraph(const Model& model, const AdapterLayout* adapter,
                                         int64_t tokens) {
  EvalGraph result;
  result.inputs = AddLossInputs(result.graph, tokens);
  CHOIR_ASSIGN_OR_RETURN(const Loss loss,
                         AddLoss(result.graph, model, adapter, result.inputs, false, std::nullopt));
  result.nll = loss.nll;
  return result;
}

}  // namespace choir::engine
