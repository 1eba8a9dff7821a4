#include "coordinator/strategy/share_a.h"

namespace choir::coordinator {

engine::Contribution ShareA::ContributionFor(uint64_t /*parent*/) const {
  return engine::Contribution::kSharedA;
}

}  // namespace choir::coordinator
