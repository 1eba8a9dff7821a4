#ifndef CHOIR_CLI_STEP_LOG_H_
#define CHOIR_CLI_STEP_LOG_H_

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "engine/train/trainer.h"

namespace choir::cli {

// One JSON object a line, one line a step: {"step", "total_steps", "loss", "lr", "tokens", "epoch",
// "tokens_per_second", ["grad_norm"]}. Each line is on its way to the disk before the next step.
class StepLog {
 public:
  // A resumed run keeps the lines of the `steps_done` steps that its checkpoint knows; what a
  // killed program wrote after it is cut off. 0 begins an empty file.
  static absl::StatusOr<StepLog> Open(const std::string& path, int64_t steps_done);

  absl::Status Write(const engine::StepReport& report);

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  StepLog(std::string path, std::FILE* file) : path_(std::move(path)), file_(file) {}

  std::string path_;
  std::unique_ptr<std::FILE, Close> file_;
};

}  // namespace choir::cli

#endif  // CHOIR_CLI_STEP_LOG_H_
