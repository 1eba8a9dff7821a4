#include "engine/train/gradients.h"

#include <cmath>
#include <memory>
#include <vector>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "engine/train/loss_feed.h"

namespace choir::engine {
namespace {

absl::Status CheckDocument(const Model& model, std::span<const int32_t> ids,
                           std::span<const float> weights) {
  if (ids.size() < 2) {
    return absl::InvalidArgumentError(
        fmt::format("{} ids have no target: at least 2 are needed", ids.size()));
  }
  if (weights.size() != ids.size() - 1) {
    return absl::InvalidArgumentError(fmt::format("{} ids have {} targets, got {} loss weights",
                                                  ids.size(), ids.size() - 1, weights.size()));
  }
  double sum = 0;
  for (const float weight : weights) {
    if (!(weight >= 0) || !std::isfinite(weight)) {
      return absl::InvalidArgumentError(fmt::format("loss weight {} is no weight", weight));
    }
    sum += static_cast<double>(weight);
  }
  if (sum <= 0) return absl::InvalidArgumentError("all loss weights are zero");
  return model.CheckTokens(ids);
}

}  // namespace

absl::StatusOr<LossAndGradients> ComputeGradients(const Model& model, Backend& backend,
                                                  const DeviceModel& weights,
                                                  const Adapter& adapter,
                                                  std::span<const int32_t> ids,
                                                  std::span<const float> loss_weights,
                                                  Compute compute, KeptActivations kept) {
  CHOIR_RETURN_IF_ERROR(CheckDocument(model, ids, loss_weights));
  const std::vector<LoraTarget> targets = model.LoraTargets();
  CHOIR_RETURN_IF_ERROR(CheckAdapterFits(adapter, targets));
  CHOIR_ASSIGN_OR_RETURN(DeviceAdapter on_device,
                         DeviceAdapter::Create(backend, LayoutOf(adapter), true));
  CHOIR_RETURN_IF_ERROR(on_device.Write(AdapterPart::kParameters, Flatten(adapter)));
  const MicroBatch batch = MicroBatchOf(ids, loss_weights);
  CHOIR_ASSIGN_OR_RETURN(
      const TrainGraph graph,
      BuildTrainGraph(model, on_device.layout(), {.tokens = batch.real_tokens, .kept = kept}));
  Bindings bindings;
  weights.Bind(graph.graph, bindings);
  on_device.Bind(graph.graph, bindings);
  CHOIR_ASSIGN_OR_RETURN(
      const std::unique_ptr<Executable> program,
      backend.Compile(graph.graph, bindings, CompileOptions{.compute = compute}));
  const auto scale = static_cast<float>(1.0 / batch.total_loss_weight);
  CHOIR_RETURN_IF_ERROR(WriteMicroBatch(*program, graph.inputs, batch, scale));
  CHOIR_RETURN_IF_ERROR(program->Run());

  LossAndGradients result;
  CHOIR_ASSIGN_OR_RETURN(const double nll, ReadWeightedNll(*program, graph.nll, batch));
  result.loss = nll / batch.total_loss_weight;
  CHOIR_ASSIGN_OR_RETURN(const std::vector<float> values, on_device.Read(AdapterPart::kGradients));
  result.gradients = adapter;
  CHOIR_RETURN_IF_ERROR(Unflatten(values, result.gradients));
  return result;
}

}  // namespace choir::engine
