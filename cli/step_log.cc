#include "cli/step_log.h"

#include <cmath>

#include <fmt/format.h>

#include "base/file.h"
#include "base/status_macros.h"
#include "cli/training_curve.h"
#include "nlohmann/json.hpp"

namespace choir::cli {
namespace {

constexpr uint64_t kMaxLogBytes = uint64_t{1} << 30;

}  // namespace

std::string_view KeptLines(std::string_view log, const StepLog::Kept& kept) {
  TrainingCurve seen;
  size_t end = 0;
  for (;;) {
    const size_t line_end = log.find('\n', end);
    if (line_end == std::string_view::npos) break;
    if (!AddLogLine(log.substr(end, line_end - end), seen)) break;
    if (seen.steps.size() > static_cast<uint64_t>(kept.steps)) break;
    if (seen.held_out.size() > kept.evaluations) break;
    end = line_end + 1;
  }
  return log.substr(0, end);
}

absl::StatusOr<std::string> ReadKeptLines(const std::string& path, const StepLog::Kept& kept) {
  if (kept.steps == 0 && kept.evaluations == 0) return std::string();
  const absl::StatusOr<std::string> log = ReadFile(path, kMaxLogBytes);
  if (absl::IsNotFound(log.status())) return std::string();
  if (!log.ok()) return log.status();
  return std::string(KeptLines(*log, kept));
}

absl::StatusOr<StepLog> StepLog::Open(const std::string& path, const Kept& kept) {
  CHOIR_ASSIGN_OR_RETURN(const std::string lines, ReadKeptLines(path, kept));
  std::FILE* file = std::fopen(path.c_str(), "we");
  if (file == nullptr) return ErrnoStatus(fmt::format("cannot write {}", path));
  StepLog log(path, file);
  if (std::fwrite(lines.data(), 1, lines.size(), file) != lines.size()) {
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
  return WriteLine(line.dump());
}

absl::Status StepLog::Write(const engine::EvaluationReport& report) {
  const nlohmann::ordered_json line = {{"step", report.step},
                                       {"held_out_loss", report.loss},
                                       {"perplexity", std::exp(report.loss)},
                                       {"best", report.is_best}};
  return WriteLine(line.dump());
}

absl::Status StepLog::WriteLine(const std::string& json) {
  const std::string text = json + "\n";
  const bool written = std::fwrite(text.data(), 1, text.size(), file_.get()) == text.size();
  if (written && std::fflush(file_.get()) == 0) return absl::OkStatus();
  return ErrnoStatus(fmt::format("cannot write {}", path_));
}

}  // namespace choir::cli
