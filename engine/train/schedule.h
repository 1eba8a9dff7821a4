#ifndef CHOIR_ENGINE_TRAIN_SCHEDULE_H_
#define CHOIR_ENGINE_TRAIN_SCHEDULE_H_

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace choir::engine {

enum class Decay : uint8_t { kConstant, kLinear, kCosine };
inline constexpr const char* kDecayNames[] = {"constant", "linear", "cosine"};

// "constant", "linear" or "cosine". INVALID_ARGUMENT.
absl::StatusOr<Decay> ParseDecay(std::string_view name);

// How the learning rate moves over a training run.
struct Schedule {
  double peak = 1e-4;
  // Steps over which it rises linearly to the peak, which the last of them has; 0: none.
  int64_t warmup_steps = 0;
  Decay decay = Decay::kConstant;
  // What is left at the end of a decay, as a part of the peak.
  double final_ratio = 0;
};

// INVALID_ARGUMENT: a rate that is not finite and positive, a ratio outside [0, 1], negative steps.
absl::Status ValidateSchedule(const Schedule& schedule);

// The rate of step `step` (from 1) of `total_steps`. The first step after the warm-up has the peak;
// the final ratio would be reached one step after the last, so that no step is wasted on rate 0.
// Pure: a resumed run sees the same rates.
double LearningRate(const Schedule& schedule, int64_t step, int64_t total_steps);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_TRAIN_SCHEDULE_H_
