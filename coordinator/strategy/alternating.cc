#include "coordinator/strategy/alternating.h"

namespace choir::coordinator {

engine::Contribution Alternating::ContributionFor(uint64_t parent) const {
  return parent % 2 == 0 ? engine::Contribution::kB : engine::Contribution::kA;
}

}  // namespace choir::coordinator
