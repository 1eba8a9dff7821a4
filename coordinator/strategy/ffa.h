#ifndef CHOIR_COORDINATOR_STRATEGY_FFA_H_
#define CHOIR_COORDINATOR_STRATEGY_FFA_H_

#include "coordinator/strategy/strategy.h"

namespace choir::coordinator {

// B alone, A frozen at its random start and common to all (FFA-LoRA, arXiv 2403.12313): the mean is
// exact, the upload half, and noise enters linearly, which makes it the choice under differential
// privacy. What it can express is limited to the row space that A started with.
class Ffa final : public AggregationStrategy {
 public:
  [[nodiscard]] engine::Contribution ContributionFor(uint64_t parent) const override;
};

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_STRATEGY_FFA_H_
