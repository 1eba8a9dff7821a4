#ifndef CHOIR_CLI_TRAIN_WATCH_H_
#define CHOIR_CLI_TRAIN_WATCH_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/clock.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/step_log.h"
#include "cli/training_curve.h"
#include "engine/train/trainer.h"

namespace choir::cli {

// What the user wants to have of a run besides its result.
struct TrainRecords {
  std::string log_jsonl;  // empty: none
  std::string plot;       // empty: none
};

// Follows a training run: the progress bar, the step log, the picture. The picture is written anew
// at each measurement and at the end, however the run ends.
class TrainWatch {
 public:
  // `kept`: what a resumed run has done before; its picture begins with what the step log has of
  // it. `output` and `clock` outlive the watch.
  static absl::StatusOr<TrainWatch> Open(const TrainRecords& records, const StepLog::Kept& kept,
                                         int64_t total_steps, std::string model_name,
                                         Output& output, const Clock& clock);

  // Hooks that refer to the watch, which stays where it is. They stop the run on Ctrl-C, and when a
  // record cannot be written.
  engine::TrainHooks Hooks();

  // Removes the bar, writes the picture. The error of a record that could not be written.
  absl::Status Finish();

 private:
  TrainWatch(const TrainRecords& records, int64_t total_steps, std::string model_name,
             Output& output, const Clock& clock);
  void OnStep(const engine::StepReport& report);
  void OnEvaluation(const engine::EvaluationReport& report);
  absl::Status WritePlot() const;

  TrainRecords records_;
  std::string model_name_;
  Output* output_;
  std::unique_ptr<ProgressBar> bar_;
  std::optional<StepLog> log_;
  TrainingCurve curve_;
  std::string last_held_out_;  // for the bar
  absl::Status status_;
};

}  // namespace choir::cli

#endif  // CHOIR_CLI_TRAIN_WATCH_H_
