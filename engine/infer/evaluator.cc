#include "engine/infer/evaluator.h"

#include <algorithm>
#include <cmath>

#include "base/status_macros.h"
#include "engine/train/compute_choice.h"
#include "engine/train/loss_feed.h"

namespace choir::engine {

absl::StatusOr<Evaluator> Evaluator::Create(const Model& model, Backend& backend,
                                            const DeviceModel& weights,
                                            const DeviceAdapter* adapter, int64_t context_tokens,
                                            Compute compute) {
  Evaluator evaluator(model);
  CHOIR_ASSIGN_OR_RETURN(
      evaluator.graph_,
      BuildEvalGraph(model, adapter == nullptr ? nullptr : &adapter->layout(), context_tokens));
  Bindings bindings;
  weights.Bind(evaluator.graph_.graph, bindings);
  if (adapter != nullptr) adapter->Bind(evaluator.graph_.graph, bindings);
  CHOIR_ASSIGN_OR_RETURN(
      evaluator.program_,
      backend.Compile(evaluator.graph_.graph, bindings,
                      CompileOptions{.compute = ChooseCompute(compute, model.spec())}));
  return evaluator;
}

absl::StatusOr<Evaluation> Evaluator::Evaluate(Packer packer, const Progress& progress) {
  Evaluation evaluation;
  double nll_sum = 0;
  double weight_sum = 0;
  MicroBatch batch;
  const uint64_t total = packer.MicroBatchesInEpoch();
  for (uint64_t done = 1; done <= total; ++done) {
    CHOIR_RETURN_IF_ERROR(packer.Next(batch));
    CHOIR_RETURN_IF_ERROR(model_->CheckTokens(batch.token_ids));
    CHOIR_RETURN_IF_ERROR(model_->CheckTokens(batch.targets));
    CHOIR_RETURN_IF_ERROR(WriteMicroBatch(*program_, graph_.inputs, batch, 1.0f));
    CHOIR_RETURN_IF_ERROR(program_->Run());
    CHOIR_ASSIGN_OR_RETURN(const double nll, ReadWeightedNll(*program_, graph_.nll, batch));
    nll_sum += nll;
    weight_sum += batch.total_loss_weight;
    evaluation.tokens += static_cast<uint64_t>(std::count_if(
        batch.loss_weights.begin(), batch.loss_weights.end(), [](float w) { return w > 0; }));
    evaluation.documents += static_cast<uint64_t>(
        1 + *std::max_element(batch.segment_ids.begin(), batch.segment_ids.end()));
    if (progress && !progress(done, total)) {
      return absl::CancelledError("the evaluation was stopped");
    }
  }
  if (!std::isfinite(nll_sum)) {
    return absl::OutOfRangeError("the loss is not a number: the model or adapter is damaged");
  }
  evaluation.mean_nll = weight_sum > 0 ? nll_sum / weight_sum : 0.0;
  evaluation.perplexity = std::exp(evaluation.mean_nll);
  return evaluation;
}

}  // namespace choir::engine
