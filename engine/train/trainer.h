#ifndef CHOIR_ENGINE_TRAIN_TRAINER_H_
#define CHOIR_ENGINE_TRAIN_TRAINER_H_

// Trains an adapter: (base model, adapter, settings, data) to (adapter, metrics). Knows nothing of
// terminals, files of text or the network: `choir train` and a node's worker both stand on it.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "base/clock.h"
#include "engine/backend/backend.h"
#include "engine/lora/adapter.h"
#include "engine/model/device_model.h"
#include "engine/model/model.h"
#include "engine/model/optimizer_graph.h"
#include "engine/model/train_graph.h"
#include "engine/train/local_terms.h"
#include "engine/train/train_config.h"
#include "engine/train/train_state.h"
#include "engine/train/training_data.h"

namespace choir::engine {

// One optimizer step, as it ended.
struct StepReport {
  int64_t step = 0;  // from 1
  int64_t total_steps = 0;
  // Mean over the step's predicted tokens, before its update.
  double loss = 0;
  double learning_rate = 0;
  // Before clipping; only where clipping is on.
  std::optional<double> gradient_norm;
  uint64_t tokens = 0;  // fed in this step, without padding
  uint64_t epoch = 0;   // of the last micro-batch, from 0
  // Averages since Run began.
  double tokens_per_second = 0;
  absl::Duration remaining;
};

// One evaluation on held-out data.
struct EvaluationReport {
  int64_t step = 0;  // steps that were done
  double loss = 0;   // mean NLL of a held-out token
  bool is_best = false;
  EvaluationRecord record;  // this evaluation included
};

// What the caller wants to hear and to say while training runs, on the thread of Run.
struct TrainHooks {
  std::function<void(const StepReport&)> on_step{};
  // Asked between micro-batches: true ends the run after the last whole step.
  std::function<bool()> should_stop{};
  // Measures the adapter as it stands (device_adapter()) on held-out data: the mean NLL. Called as
  // TrainConfig::evaluation says; CANCELLED stops the run, which measures again when it goes on.
  std::function<absl::StatusOr<double>()> evaluate{};
  std::function<void(const EvaluationReport&)> on_evaluation{};
};

struct CheckpointPolicy {
  std::string path{};       // empty: none
  int64_t every_steps = 0;  // 0: only when the run stops or ends
};

struct TrainMetrics {
  int64_t steps = 0;
  // Mean over all predicted tokens of all steps, each before its update.
  double mean_loss = 0;
  uint64_t tokens = 0;    // fed, without padding
  uint64_t examples = 0;  // documents, or pieces of long ones, that were fed
};

// One training run. Not thread-safe: it belongs to the backend's thread.
class Trainer {
 public:
  // What a run is made of. The references outlive the trainer.
  struct Parts {
    const Model& model;
    Digest base_model;  // model.Sha256()
    Backend& backend;
    const DeviceModel& weights;
    const Adapter& start;  // used in Create only: who is short of memory lets go of it then
    // Train the cores between this basis instead of factors (engine/lora/latent.h); B is what the
    // trainer moves. Used in Create only.
    const Adapter* basis = nullptr;
  };

  // Builds and compiles the programs, allocates all memory. INVALID_ARGUMENT: settings or data that
  // do not fit the model; RESOURCE_EXHAUSTED: memory.
  static absl::StatusOr<std::unique_ptr<Trainer>> Create(const Parts& parts,
                                                         const TrainConfig& config,
                                                         TrainingData data);

  // Goes on from a checkpoint of this very run. FAILED_PRECONDITION says what differs; DATA_LOSS
  // for one that contradicts itself. Call before Run.
  absl::Status Restore(const TrainState& state);

  // Trains to the last step, or until patience ends the run. CANCELLED if should_stop said so:
  // State() is then the last whole step, and it is in the checkpoint file if there is one.
  // OUT_OF_RANGE if the loss stops being a number. UNAVAILABLE if the device was lost: the
  // checkpoint file has the last state that was written.
  absl::Status Run(const TrainHooks& hooks, const CheckpointPolicy& checkpoint, const Clock& clock);

  [[nodiscard]] int64_t step() const { return step_; }
  [[nodiscard]] int64_t total_steps() const { return total_steps_; }
  [[nodiscard]] TrainMetrics metrics() const;
  [[nodiscard]] const EvaluationRecord& evaluations() const { return evaluations_; }
  // After Run: did patience end it before its last step?
  [[nodiscard]] bool stopped_early() const {
    return step_ < total_steps_ && evaluations_.OutOfPatience(config_.evaluation);
  }
  [[nodiscard]] absl::StatusOr<Adapter> CurrentAdapter() const;
  // Where cores are trained: theirs, trained minus start.
  [[nodiscard]] absl::StatusOr<std::vector<float>> CoreDelta() const;
  // As it was at the best evaluation. FAILED_PRECONDITION before the first one.
  [[nodiscard]] absl::StatusOr<Adapter> BestAdapter() const;
  // The run between two steps.
  [[nodiscard]] absl::StatusOr<TrainState> State() const;
  // For an evaluation of the adapter as it stands.
  [[nodiscard]] const DeviceAdapter& device_adapter() const { return device_adapter_; }
  [[nodiscard]] MemoryUse memory_use() const;
  // The micro-step, for those who measure.
  [[nodiscard]] const Graph& micro_step_graph() const { return programs_.train_graph.graph; }
  [[nodiscard]] const Executable& micro_step() const { return *programs_.train; }

 private:
  struct Programs {
    TrainGraph train_graph;
    AdamWGraph adamw_graph;
    std::unique_ptr<Executable> train;
    std::unique_ptr<Executable> adamw;
    std::unique_ptr<Executable> norm;  // null without clipping
  };
  struct StepResult {
    double nll = 0;
    double weight = 0;
    uint64_t tokens = 0;
    uint64_t examples = 0;
    uint64_t epoch = 0;
    std::optional<double> gradient_norm;
  };

  Trainer(const Parts& parts, const TrainConfig& config, TrainingData data,
          DeviceAdapter device_adapter);
  static absl::StatusOr<Programs> Compile(const Parts& parts, const TrainConfig& config,
                                          const DeviceAdapter& device_adapter);
  absl::Status RunToTheEnd(const TrainHooks& hooks, const CheckpointPolicy& checkpoint,
                           const Clock& clock);
  [[nodiscard]] bool Finished() const {
    return step_ >= total_steps_ || evaluations_.OutOfPatience(config_.evaluation);
  }
  [[nodiscard]] bool EvaluationIsDue() const;
  absl::Status EvaluateIfDue(const TrainHooks& hooks);
  absl::StatusOr<StepResult> RunStep(const TrainHooks& hooks);
  // `tokens` were fed in `elapsed`, since `first_step` steps were done.
  [[nodiscard]] StepReport Report(const StepResult& result, uint64_t tokens, int64_t first_step,
                                  absl::Duration elapsed) const;
  absl::Status RunMicroBatches(const TrainHooks& hooks, StepResult& result);
  absl::Status WriteDropoutKey(size_t micro_batch);
  absl::StatusOr<float> ClipScale(StepResult& result);
  // `step`: the number of this update, from 1.
  absl::Status Update(int64_t step, float gradient_scale);
  // A state without its vectors, and these, as WriteTrainState wants them.
  [[nodiscard]] TrainState StateHead() const;
  [[nodiscard]] absl::StatusOr<std::vector<float>> StateVector(size_t i) const;
  absl::Status SaveTo(const std::string& path) const;

  const Model& model_;
  TrainConfig config_;
  TrainIdentity identity_;
  Adapter shape_;  // names, shapes and alpha
  DeviceAdapter device_adapter_;
  LocalTerms local_terms_;
  Programs programs_;
  Packer packer_;
  PackerState position_;  // before the step that is under way
  std::vector<MicroBatch> batches_;
  int64_t total_steps_ = 0;
  int64_t step_ = 0;
  TrainTotals totals_;
  EvaluationRecord evaluations_;
  std::vector<float> best_parameters_;  // empty before the first evaluation
};

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_TRAIN_TRAINER_H_
