#include "engine/train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include <fmt/format.h>

namespace choir::engine {

absl::StatusOr<Decay> ParseDecay(std::string_view name) {
  for (const Decay decay : {Decay::kConstant, Decay::kLinear, Decay::kCosine}) {
    if (name == kDecayNames[static_cast<int>(decay)]) return decay;
  }
  return absl::InvalidArgumentError(
      fmt::format("schedule '{}' is not constant, linear or cosine", name));
}

absl::Status ValidateSchedule(const Schedule& schedule) {
  if (!std::isfinite(schedule.peak) || schedule.peak <= 0) {
    return absl::InvalidArgumentError(
        fmt::format("learning rate {} is not a positive number", schedule.peak));
  }
  if (!(schedule.final_ratio >= 0 && schedule.final_ratio <= 1)) {
    return absl::InvalidArgumentError(
        fmt::format("final learning rate ratio {} is outside 0..1", schedule.final_ratio));
  }
  if (schedule.warmup_steps < 0) {
    return absl::InvalidArgumentError(
        fmt::format("{} warm-up steps are fewer than 0", schedule.warmup_steps));
  }
  return absl::OkStatus();
}

double LearningRate(const Schedule& schedule, int64_t step, int64_t total_steps) {
  if (step <= schedule.warmup_steps) {
    return schedule.peak * static_cast<double>(step) / static_cast<double>(schedule.warmup_steps);
  }
  const int64_t decay_steps = std::max<int64_t>(1, total_steps - schedule.warmup_steps);
  const double progress = std::min(1.0, static_cast<double>(step - schedule.warmup_steps - 1) /
                                            static_cast<double>(decay_steps));
  double factor = 1.0;
  if (schedule.decay == Decay::kLinear) factor = 1.0 - progress;
  if (schedule.decay == Decay::kCosine)
    factor = 0.5 * (1.0 + std::cos(std::numbers::pi * progress));
  return schedule.peak * (schedule.final_ratio + (1.0 - schedule.final_ratio) * factor);
}

}  // namespace choir::engine
