#include "secure-agg/core/graph.h"

#include "base/check.h"

namespace choir::secagg {

std::vector<uint32_t> CohortGraph::Neighbours(uint32_t index) const {
  CHOIR_CHECK(kind_ == GraphKind::kComplete && index < size_);
  std::vector<uint32_t> others;
  others.reserve(size_);
  for (uint32_t i = 0; i < size_; ++i) {
    if (i != index) others.push_back(i);
  }
  return others;
}

uint32_t CohortGraph::Threshold() const {
  CHOIR_CHECK(rule_ == ThresholdRule::kTwoThirds);
  return 2 * size_ / 3 + 1;
}

uint32_t CohortGraph::ShareNumber(uint32_t owner, uint32_t holder) const {
  CHOIR_CHECK(owner < size_ && holder < size_);
  return holder + 1;
}

}  // namespace choir::secagg
