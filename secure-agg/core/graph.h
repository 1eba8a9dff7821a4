#ifndef CHOIR_SECURE_AGG_CORE_GRAPH_H_
#define CHOIR_SECURE_AGG_CORE_GRAPH_H_

#include <cstdint>
#include <vector>

#include "secure-agg/core/messages.h"

namespace choir::secagg {

// Who shares masks and secrets with whom. Every loop over "the others" goes through here, so that a
// sparser graph changes nothing but this file. Indices are places in the KeyList.
class CohortGraph {
 public:
  CohortGraph(GraphKind kind, ThresholdRule rule, uint32_t size)
      : kind_(kind), rule_(rule), size_(size) {}

  [[nodiscard]] uint32_t size() const { return size_; }
  // The other ends of `index`'s edges, ascending; without itself.
  [[nodiscard]] std::vector<uint32_t> Neighbours(uint32_t index) const;
  // t: shares that open a secret, and signatures that vouch for a survivor list. With the
  // two-thirds rule, two disjoint halves cannot both reach it even if a third of the nodes helps
  // the server (Bonawitz et al. 2017, theorem 6.5).
  [[nodiscard]] uint32_t Threshold() const;
  // The number under which `holder` keeps its share of `owner`'s secrets: 1 to size().
  [[nodiscard]] uint32_t ShareNumber(uint32_t owner, uint32_t holder) const;

 private:
  GraphKind kind_;
  ThresholdRule rule_;
  uint32_t size_;
};

}  // namespace choir::secagg

#endif  // CHOIR_SECURE_AGG_CORE_GRAPH_H_
