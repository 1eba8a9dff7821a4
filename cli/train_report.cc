#include "cli/train_report.h"

#include <cmath>

#include <fmt/format.h>

#include "cli/humane.h"

namespace choir::cli {
namespace {

double RateOf(const TrainReport& report) {
  const double seconds = absl::ToDoubleSeconds(report.took);
  return seconds > 0 ? static_cast<double>(report.new_tokens) / seconds : 0.0;
}

std::string DescribeHeldOut(const HeldOutReport& report) {
  const engine::EvaluationRecord& record = report.record;
  std::string text = fmt::format(
      "held-out loss {:.4f} at the start, best {:.4f} after step {}, last {:.4f} after step {}  "
      "(perplexity {:.2f} -> {:.2f})\n",
      record.first_loss, record.best_loss, record.best_step, record.last_loss, record.last_step,
      std::exp(record.first_loss), std::exp(record.best_loss));
  if (report.stopped_early) {
    text += fmt::format("stopped early: {} measurements in a row were no better (--patience {})\n",
                        record.without_gain, report.patience);
  }
  text += fmt::format("the result is the adapter after step {}, the {}",
                      report.kept_best ? record.best_step : record.last_step,
                      report.kept_best ? "best that was measured" : "last");
  return text;
}

}  // namespace

std::string DescribeReport(const TrainReport& report) {
  std::string text = fmt::format(
      "{}: {} steps, {} tokens, mean loss {:.4f}, {} ({} tokens/s)", report.output,
      HumaneCount(report.metrics.steps), HumaneCount(static_cast<int64_t>(report.metrics.tokens)),
      report.metrics.mean_loss, HumaneDuration(report.took), HumaneRate(RateOf(report)));
  if (report.held_out.has_value()) text.append("\n").append(DescribeHeldOut(*report.held_out));
  return text;
}

nlohmann::json ReportToJson(const TrainReport& report) {
  nlohmann::json json = {{"output", report.output},
                         {"steps", report.metrics.steps},
                         {"mean_loss", report.metrics.mean_loss},
                         {"tokens", report.metrics.tokens},
                         {"examples", report.metrics.examples},
                         {"seconds", absl::ToDoubleSeconds(report.took)},
                         {"tokens_per_second", RateOf(report)},
                         {"backend", report.device.backend},
                         {"device", report.device.name}};
  if (!report.held_out.has_value()) return json;
  const HeldOutReport& held_out = *report.held_out;
  const engine::EvaluationRecord& record = held_out.record;
  json["held_out"] = {
      {"tokens", held_out.tokens},
      {"evaluations", record.evaluations},
      {"first", {{"step", 0}, {"loss", record.first_loss}}},
      {"best", {{"step", record.best_step}, {"loss", record.best_loss}}},
      {"last", {{"step", record.last_step}, {"loss", record.last_loss}}},
      {"kept_step", held_out.kept_best ? record.best_step : record.last_step},
      {"stopped_early", held_out.stopped_early},
  };
  return json;
}

}  // namespace choir::cli
