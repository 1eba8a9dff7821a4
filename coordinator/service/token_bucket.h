#ifndef CHOIR_COORDINATOR_SERVICE_TOKEN_BUCKET_H_
#define CHOIR_COORDINATOR_SERVICE_TOKEN_BUCKET_H_

#include <algorithm>

#include "absl/time/time.h"

namespace choir::coordinator {

// How fast one caller may call: `burst` at once, `per_second` in the long run. Not thread-safe.
class TokenBucket {
 public:
  TokenBucket(double burst, double per_second, absl::Time now)
      : burst_(burst), per_second_(per_second), tokens_(burst), at_(now) {}

  // False: not now. A clock that goes back gives nothing and takes nothing.
  bool Take(absl::Time now) {
    const double passed = std::max(0.0, absl::ToDoubleSeconds(now - at_));
    tokens_ = std::min(burst_, tokens_ + passed * per_second_);
    at_ = now;
    if (tokens_ < 1.0) return false;
    tokens_ -= 1.0;
    return true;
  }

 private:
  double burst_;
  double per_second_;
  double tokens_;
  absl::Time at_;
};

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_SERVICE_TOKEN_BUCKET_H_
