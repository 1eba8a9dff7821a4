#ifndef CHOIR_COORDINATOR_STRATEGY_LATENT_H_
#define CHOIR_COORDINATOR_STRATEGY_LATENT_H_

#include "coordinator/strategy/strategy.h"

namespace choir::coordinator {

// Only r x r cores, between a basis that is fixed after the first round (Fed-SB, arXiv 2502.15436):
// the mean is exact and the upload tiny, whatever the size of the model.
//
// The first round is fedavg's: nodes train both factors from the initial adapter, and the singular
// value decomposition of each merged product B A = U S V^T is the basis U, V^T, with the core S. It
// points where the nodes' mean update points, as the paper's does with a mean gradient. From then
// on nodes train cores.
class Latent final : public AggregationStrategy {
 public:
  [[nodiscard]] engine::Contribution ContributionFor(uint64_t parent) const override;
  // FAILED_PRECONDITION if a version above 0 has no basis.
  [[nodiscard]] absl::Status Apply(std::span<const float> update, uint64_t parent,
                                   VersionState& version) const override;
};

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_STRATEGY_LATENT_H_
