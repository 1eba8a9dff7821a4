#ifndef CHOIR_CLI_STEP_LOG_H_
#define CHOIR_CLI_STEP_LOG_H_

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "engine/train/trainer.h"

namespace choir::cli {

// One JSON object a line. A step: {"step", "total_steps", "loss", "lr", "tokens", "epoch",
// "tokens_per_second", ["grad_norm"]}. An evaluation, after the line of its step: {"step",
// "held_out_loss", "perplexity", "best"}. Each line is on its way to the disk before the next step.
class StepLog {
 public:
  // What a resumed run's checkpoint knows; later lines, of a killed program, are cut off.
  struct Kept {
    int64_t steps = 0;
    uint64_t evaluations = 0;
  };
  // Nothing kept begins an empty file.
  static absl::StatusOr<StepLog> Open(const std::string& path, const Kept& kept);

  absl::Status Write(const engine::StepReport& report);
  absl::Status Write(const engine::EvaluationReport& report);

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  StepLog(std::string path, std::FILE* file) : path_(std::move(path)), file_(file) {}
  absl::Status WriteLine(const std::string& json);

  std::string path_;
  std::unique_ptr<std::FILE, Close> file_;
};

// The lines of an earlier part of the run; none if there is no such file.
absl::StatusOr<std::string> ReadKeptLines(const std::string& path, const StepLog::Kept& kept);

// The first lines of a log: `kept.steps` steps and `kept.evaluations` evaluations, and nothing from
// the first line on that is one too many, or neither.
std::string_view KeptLines(std::string_view log, const StepLog::Kept& kept);

}  // namespace choir::cli

#endif  // CHOIR_CLI_STEP_LOG_H_
