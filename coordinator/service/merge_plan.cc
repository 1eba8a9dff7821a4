#include "coordinator/service/merge_plan.h"

#include <cmath>
#include <string>

#include <fmt/format.h>

#include "base/status_macros.h"

namespace choir::coordinator {
namespace {

absl::Status Wrong(const char* setting, const std::string& text) {
  return absl::InvalidArgumentError(fmt::format("aggregation.{}: {}", setting, text));
}
absl::Status Wrong(const char* setting, const absl::Status& why) {
  return Wrong(setting, std::string(why.message()));
}

// In [low, high): NaN is in no range.
absl::Status CheckRange(const char* setting, double value, double low, double high) {
  if (value >= low && value < high) return absl::OkStatus();
  return Wrong(setting, fmt::format("{} is outside [{}, {})", value, low, high));
}

absl::Status CheckNumbers(const MergePlan& plan) {
  const ServerOptimizerConfig& optimizer = plan.optimizer;
  if (!(optimizer.learning_rate > 0) || !std::isfinite(optimizer.learning_rate)) {
    return Wrong("server_learning_rate", "must be above zero");
  }
  CHOIR_RETURN_IF_ERROR(CheckRange("server_beta1", optimizer.beta1, 0, 1));
  CHOIR_RETURN_IF_ERROR(CheckRange("server_beta2", optimizer.beta2, 0, 1));
  // Its square is kept in f32.
  CHOIR_RETURN_IF_ERROR(CheckRange("server_tau", optimizer.tau, 1e-12, 1e6));
  if (optimizer.kind != ServerOptimizerKind::kPlain && !plan.strategy->TakesServerOptimizer()) {
    return Wrong("server_optimizer", "this strategy takes none but plain");
  }
  return CheckRange("trim", plan.combine.trim, 0, 0.5);
}

}  // namespace

absl::StatusOr<MergePlan> MergePlanOf(const v1::AggregationSpec& spec) {
  MergePlan plan;
  absl::StatusOr<std::unique_ptr<AggregationStrategy>> strategy = MakeStrategy(spec.strategy());
  if (!strategy.ok()) return Wrong("strategy", strategy.status());
  plan.strategy = *std::move(strategy);
  const absl::StatusOr<CombineRule> rule = ParseCombineRule(spec.combine());
  if (!rule.ok()) return Wrong("combine", rule.status());
  plan.combine.rule = *rule;
  if (spec.has_trim()) plan.combine.trim = double{spec.trim()};
  const absl::StatusOr<ServerOptimizerKind> kind = ParseServerOptimizer(spec.server_optimizer());
  if (!kind.ok()) return Wrong("server_optimizer", kind.status());
  plan.optimizer.kind = *kind;
  plan.optimizer.learning_rate = double{spec.server_learning_rate()};
  if (spec.has_server_beta1()) plan.optimizer.beta1 = double{spec.server_beta1()};
  if (spec.has_server_beta2()) plan.optimizer.beta2 = double{spec.server_beta2()};
  if (spec.has_server_tau()) plan.optimizer.tau = double{spec.server_tau()};
  CHOIR_RETURN_IF_ERROR(CheckNumbers(plan));
  return plan;
}

absl::Status FillMergePlan(v1::AggregationSpec& spec) {
  if (spec.strategy().empty()) spec.set_strategy("alternating");
  if (spec.server_learning_rate() == 0) spec.set_server_learning_rate(1.0f);
  if (spec.server_optimizer().empty()) spec.set_server_optimizer("plain");
  if (spec.combine().empty()) spec.set_combine("mean");
  return MergePlanOf(spec).status();
}

}  // namespace choir::coordinator
