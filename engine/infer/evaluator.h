#ifndef CHOIR_ENGINE_INFER_EVALUATOR_H_
#define CHOIR_ENGINE_INFER_EVALUATOR_H_

// How well a model, with or without an adapter, predicts a text.

#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/statusor.h"

#include "engine/backend/backend.h"
#include "engine/model/device_model.h"
#include "engine/model/model.h"
#include "engine/model/train_graph.h"
#include "engine/train/packer.h"

namespace choir::engine {

struct Evaluation {
  double mean_nll = 0;     // natural logarithm, a predicted token; weighted by loss weights
  double perplexity = 0;   // exp(mean_nll)
  uint64_t tokens = 0;     // that were predicted (weight above 0)
  uint64_t documents = 0;  // or pieces of long ones
};

// Not thread-safe: it belongs to the backend's thread.
class Evaluator {
 public:
  // The references, and `adapter` if it is not null, outlive the evaluator; it sees the adapter's
  // values as they are when Evaluate runs. `context_tokens`: the packer's tokens_per_micro_batch.
  static absl::StatusOr<Evaluator> Create(const Model& model, Backend& backend,
                                          const DeviceModel& weights, const DeviceAdapter* adapter,
                                          int64_t context_tokens, Compute compute);

  // Told after each micro-batch; false stops the evaluation.
  using Progress = std::function<bool(uint64_t done, uint64_t total)>;

  // One pass over the packer's data. CANCELLED if `progress` said so. OUT_OF_RANGE if the loss is
  // no number.
  absl::StatusOr<Evaluation> Evaluate(Packer packer, const Progress& progress);

  [[nodiscard]] MemoryUse memory_use() const { return program_->memory_use(); }

 private:
  explicit Evaluator(const Model& model) : model_(&model) {}

  const Model* model_;
  EvalGraph graph_;
  std::unique_ptr<Executable> program_;
};

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_INFER_EVALUATOR_H_
