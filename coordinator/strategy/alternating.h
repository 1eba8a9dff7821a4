#ifndef CHOIR_COORDINATOR_STRATEGY_ALTERNATING_H_
#define CHOIR_COORDINATOR_STRATEGY_ALTERNATING_H_

#include "coordinator/strategy/strategy.h"

namespace choir::coordinator {

// One factor a round, the other frozen and common to all, so the mean is exact: sum w B_k A =
// (sum w B_k) A (RoLoRA, arXiv 2502.01755). Half the upload and half the optimizer's state.
//
// From even versions (0, 2, ...) nodes train B, from odd ones A. So B comes first: it starts at
// zero, and while it is zero no gradient reaches A. Where no round is abandoned, that is B in
// rounds 1, 3, ... as rounds are numbered from 1. The version counts, not the round, so that an
// abandoned round does not skip a factor.
class Alternating final : public AggregationStrategy {
 public:
  [[nodiscard]] engine::Contribution ContributionFor(uint64_t parent) const override;
};

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_STRATEGY_ALTERNATING_H_
