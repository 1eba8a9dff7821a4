#include "coordinator/strategy/fed_avg.h"

namespace choir::coordinator {

engine::Contribution FedAvg::ContributionFor(uint64_t /*parent*/) const {
  return engine::Contribution::kBoth;
}

}  // namespace choir::coordinator
