#include "base/clock.h"

#include "absl/time/clock.h"

namespace choir {

absl::Time SystemClock::Now() const {
  return absl::Now();
}

}  // namespace choir
