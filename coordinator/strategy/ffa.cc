#include "coordinator/strategy/ffa.h"

namespace choir::coordinator {

engine::Contribution Ffa::ContributionFor(uint64_t /*parent*/) const {
  return engine::Contribution::kB;
}

}  // namespace choir::coordinator
