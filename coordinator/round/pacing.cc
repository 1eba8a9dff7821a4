#include "coordinator/round/pacing.h"

#include <algorithm>

namespace choir::coordinator {

absl::Duration ComeBackAfter(const PaceInputs& inputs, double jitter) {
  const absl::Duration spread =
      absl::Seconds(static_cast<double>(inputs.enrolled_nodes) / kCheckInsPerSecond);
  const absl::Duration pause =
      std::clamp(std::max(spread, inputs.last_round / 8), kShortestPause, kLongestPause);
  return pause * (0.5 + jitter);
}

}  // namespace choir::coordinator
