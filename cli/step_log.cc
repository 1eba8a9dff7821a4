#include "cli/step_log.h"

#include <fmt/format.h>

#include "base/file.h"
#include "base/status_macros.h"
#include "nlohmann/json.hpp"

namespace choir::cli {
namespace {

constexpr uint64_t kMaxLogBytes = uint64_t{1} << 30;

// The first `lines` lines, or all of it if there are fewer.
std::string FirstLines(const std::string& text, int64_t lines) {
  size_t end = 0;
  for (int64_t i = 0; i < lines; ++i) {
    const size_t line_end = text.find('\n', end);
    if (line_end == std::string::npos) break;
    end = line_end + 1;
  }
  return text.substr(0, end);
}

}  // namespace

absl::StatusOr<StepLog> StepLog::Open(const std::string& path, int64_t steps_done) {
  std::string kept;
  if (steps_done > 0) {
    const absl::StatusOr<std::string> old = ReadFile(path, kMaxLogBytes);
    if (!old.ok() && !absl::IsNotFound(old.status())) return old.status();
    if (old.ok()) kept = FirstLines(*old, steps_done);
  }
  std::FILE* file = std::fopen(path.c_str(), "we");
  if (file == nullptr) return ErrnoStatus(fmt::format("cannot write {}", path));
  StepLog log(path, file);
  if (std::fwrite(kept.data(), 1, kept.size(), file) != kept.size()) {
    return ErrnoStatus(fmt::format("cannot write {}", path));
  }
  return log;
}

absl::Status StepLog::Write(const engine::StepReport& report) {
  nlohmann::ordered_json line = {{"step", report.step},
                                 {"total_steps", report.total_steps},
                                 {"loss", report.loss},
                                 {"lr", report.learning_rate},
                                 {"tokens", report.tokens},
                                 {"epoch", report.epoch},
                                 {"tokens_per_second", report.tokens_per_second}};
  if (report.gradient_norm.has_value()) line["grad_norm"] = *report.gradient_norm;
  const std::string text = line.dump() + "\n";
  const bool written = std::fwrite(text.data(), 1, text.size(), file_.get()) == text.size();
  if (written && std::fflush(file_.get()) == 0) return absl::OkStatus();
  return ErrnoStatus(fmt::format("cannot write {}", path_));
}

}  // namespace choir::cli
