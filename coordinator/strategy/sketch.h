#ifndef CHOIR_COORDINATOR_STRATEGY_SKETCH_H_
#define CHOIR_COORDINATOR_STRATEGY_SKETCH_H_

#include "coordinator/strategy/strategy.h"

namespace choir::coordinator {

// The mean of the products B A, not of the factors (FedASK, arXiv 2507.09990, in delta form), from
// two sums in two rounds (docs/decisions/0021): from even versions nodes train and send left
// sketches, whose mean gives a basis and an unchanged adapter; from odd ones they send right
// sketches of what they trained, and the decomposition of both is the next adapter. Exact up to
// the sketch's width.
class Sketch final : public AggregationStrategy {
 public:
  [[nodiscard]] engine::Contribution ContributionFor(uint64_t parent) const override;
  [[nodiscard]] uint64_t VersionsPerUpdate() const override { return 2; }
  // A sketch is of a product, not of the adapter's own coordinates.
  [[nodiscard]] bool TakesServerOptimizer() const override { return false; }
  // FAILED_PRECONDITION if an odd version has no basis.
  [[nodiscard]] absl::Status Apply(std::span<const float> update, uint64_t parent,
                                   VersionState& version) const override;
};

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_STRATEGY_SKETCH_H_
