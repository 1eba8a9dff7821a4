#ifndef CHOIR_COORDINATOR_ROUND_PACING_H_
#define CHOIR_COORDINATOR_ROUND_PACING_H_

#include <cstdint>

#include "absl/time/time.h"

namespace choir::coordinator {

// When a node that got no task should ask again. Spreads the federation's check-ins so that they
// arrive at no more than kCheckInsPerSecond in the long run, and not in step with one another.
struct PaceInputs {
  uint64_t enrolled_nodes = 0;
  // How long the last round took; zero if not known. A node that comes back after an eighth of it
  // misses little of the next one.
  absl::Duration last_round;
};

// One durable transition each; SQLite does 234/s one by one on the slowest machine measured.
inline constexpr double kCheckInsPerSecond = 50;
inline constexpr absl::Duration kShortestPause = absl::Seconds(1);
inline constexpr absl::Duration kLongestPause = absl::Minutes(5);

// `jitter` in [0, 1), random: the answer is the pause times 0.5 + jitter.
absl::Duration ComeBackAfter(const PaceInputs& inputs, double jitter);

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_ROUND_PACING_H_
