#include "cli/training_curve.h"

#include <cmath>

#include "nlohmann/json.hpp"

namespace choir::cli {
namespace {

using Json = nlohmann::json;
constexpr int kMaxLogDepth = 4;

bool TakeNumber(const Json& line, const char* name, double& value) {
  const auto field = line.find(name);
  if (field == line.end() || !field->is_number()) return false;
  value = field->get<double>();
  return std::isfinite(value);
}

bool TakeStep(const Json& line, int64_t& step) {
  const auto field = line.find("step");
  if (field == line.end() || !field->is_number_unsigned()) return false;
  const auto value = field->get<uint64_t>();
  if (value > uint64_t{1} << 53) return false;
  step = static_cast<int64_t>(value);
  return true;
}

}  // namespace

bool AddLogLine(std::string_view text, TrainingCurve& curve) {
  const auto bound_depth = [](int depth, Json::parse_event_t, Json&) {
    return depth <= kMaxLogDepth;
  };
  const Json line = Json::parse(text, bound_depth, /*allow_exceptions=*/false);
  if (!line.is_object()) return false;
  int64_t step = 0;
  double loss = 0;
  if (!TakeStep(line, step)) return false;
  if (TakeNumber(line, "held_out_loss", loss)) {
    const auto best = line.find("best");
    curve.held_out.push_back(
        {.step = step, .loss = loss, .is_best = best != line.end() && best->is_boolean() && *best});
    return true;
  }
  double rate = 0;
  if (!TakeNumber(line, "loss", loss) || !TakeNumber(line, "lr", rate)) return false;
  curve.steps.push_back({.step = step, .loss = loss, .learning_rate = rate});
  return true;
}

std::vector<double> SmoothLosses(const std::vector<TrainingCurve::Step>& steps, double span) {
  const double keep = span <= 1 ? 0.0 : 1.0 - 2.0 / (span + 1.0);
  std::vector<double> smooth;
  smooth.reserve(steps.size());
  double sum = 0;
  double weight = 0;
  for (const TrainingCurve::Step& step : steps) {
    sum = keep * sum + step.loss;
    weight = keep * weight + 1;
    smooth.push_back(sum / weight);
  }
  return smooth;
}

}  // namespace choir::cli
