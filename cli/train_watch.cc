#include "cli/train_watch.h"

#include <utility>

#include <fmt/format.h>

#include "base/file.h"
#include "base/status_macros.h"
#include "cli/humane.h"
#include "cli/interrupt.h"

namespace choir::cli {

TrainWatch::TrainWatch(const TrainRecords& records, int64_t total_steps, std::string model_name,
                       Output& output, const Clock& clock)
    : records_(records),
      model_name_(std::move(model_name)),
      output_(&output),
      bar_(std::make_unique<ProgressBar>(output, clock, "train", total_steps)) {}

absl::StatusOr<TrainWatch> TrainWatch::Open(const TrainRecords& records, const StepLog::Kept& kept,
                                            int64_t total_steps, std::string model_name,
                                            Output& output, const Clock& clock) {
  TrainWatch watch(records, total_steps, std::move(model_name), output, clock);
  if (!records.log_jsonl.empty()) {
    CHOIR_ASSIGN_OR_RETURN(const std::string lines, ReadKeptLines(records.log_jsonl, kept));
    for (size_t begin = 0; begin < lines.size();) {
      const size_t end = lines.find('\n', begin);
      AddLogLine(std::string_view(lines).substr(begin, end - begin), watch.curve_);
      begin = end + 1;
    }
    CHOIR_ASSIGN_OR_RETURN(watch.log_, StepLog::Open(records.log_jsonl, kept));
  }
  const auto known = static_cast<int64_t>(watch.curve_.steps.size());
  if (!records.plot.empty() && known < kept.steps) {
    output.Note(
        fmt::format("{} begins at step {}: only --log-jsonl remembers the steps of an earlier run",
                    records.plot, kept.steps - known + 1));
  }
  return watch;
}

engine::TrainHooks TrainWatch::Hooks() {
  engine::TrainHooks hooks;
  hooks.on_step = [this](const engine::StepReport& report) { OnStep(report); };
  hooks.on_evaluation = [this](const engine::EvaluationReport& report) { OnEvaluation(report); };
  hooks.should_stop = [this] { return InterruptRequested() || !status_.ok(); };
  return hooks;
}

void TrainWatch::OnStep(const engine::StepReport& report) {
  if (log_.has_value()) status_.Update(log_->Write(report));
  if (!records_.plot.empty()) {
    curve_.steps.push_back(
        {.step = report.step, .loss = report.loss, .learning_rate = report.learning_rate});
  }
  bar_->Update(report.step,
               fmt::format("loss {:.4f}{}  lr {:.2e}  {} tokens/s", report.loss, last_held_out_,
                           report.learning_rate, HumaneRate(report.tokens_per_second)));
}

void TrainWatch::OnEvaluation(const engine::EvaluationReport& report) {
  if (log_.has_value()) status_.Update(log_->Write(report));
  last_held_out_ = fmt::format("  held-out {:.4f}", report.loss);
  output_->Note(fmt::format("step {}: held-out loss {:.4f}{}", report.step, report.loss,
                            report.is_best
                                ? ""
                                : fmt::format(" (best {:.4f} at step {})", report.record.best_loss,
                                              report.record.best_step)));
  if (records_.plot.empty()) return;
  curve_.held_out.push_back({.step = report.step, .loss = report.loss, .is_best = report.is_best});
  status_.Update(WritePlot());
}

absl::Status TrainWatch::Finish() {
  bar_->Finish();
  if (!records_.plot.empty()) status_.Update(WritePlot());
  return status_;
}

absl::Status TrainWatch::WritePlot() const {
  return AtomicWriteFile(records_.plot,
                         RenderTrainingPlot(curve_, fmt::format("choir train: {}", model_name_)));
}

}  // namespace choir::cli
