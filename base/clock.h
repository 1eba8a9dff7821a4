#ifndef CHOIR_BASE_CLOCK_H_
#define CHOIR_BASE_CLOCK_H_

#include "absl/time/time.h"

namespace choir {

// Where time comes from. Passed in, so that tests and the simulator own it. Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  [[nodiscard]] virtual absl::Time Now() const = 0;
};

// The system's wall clock.
class SystemClock final : public Clock {
 public:
  [[nodiscard]] absl::Time Now() const override;
};

}  // namespace choir

#endif  // CHOIR_BASE_CLOCK_H_
