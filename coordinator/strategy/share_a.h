#ifndef CHOIR_COORDINATOR_STRATEGY_SHARE_A_H_
#define CHOIR_COORDINATOR_STRATEGY_SHARE_A_H_

#include "coordinator/strategy/strategy.h"

namespace choir::coordinator {

// A is common, B personal (FedSA-LoRA, arXiv 2410.01463): nodes train both factors and send A; each
// keeps its own B from round to round, so each ends with an adapter of its own. The published
// adapter's B stays as it started: only a node has a B to go with the common A.
class ShareA final : public AggregationStrategy {
 public:
  [[nodiscard]] engine::Contribution ContributionFor(uint64_t parent) const override;
};

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_STRATEGY_SHARE_A_H_
