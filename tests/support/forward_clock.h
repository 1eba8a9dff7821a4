#ifndef CHOIR_TESTS_SUPPORT_FORWARD_CLOCK_H_
#define CHOIR_TESTS_SUPPORT_FORWARD_CLOCK_H_

#include <atomic>

#include "absl/time/clock.h"

#include "base/clock.h"

namespace choir {

// The system's clock, which a test may put forward.
class ForwardClock final : public Clock {
 public:
  [[nodiscard]] absl::Time Now() const override {
    return absl::Now() + absl::Seconds(seconds_.load());
  }
  void Advance(int64_t by_seconds) { seconds_ += by_seconds; }

 private:
  std::atomic<int64_t> seconds_ = 0;
};

}  // namespace choir

#endif  // CHOIR_TESTS_SUPPORT_FORWARD_CLOCK_H_
