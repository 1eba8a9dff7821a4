#ifndef CHOIR_SECURE_AGG_CORE_GRAPH_H_
#define CHOIR_SECURE_AGG_CORE_GRAPH_H_

#include <cstdint>
#include <vector>

#include "base/sha256.h"
#include "secure-agg/core/messages.h"

namespace choir::secagg {

// Below this many nodes a regular graph is the complete one: the statistics need numbers.
inline constexpr uint32_t kSmallestSparseCohort = 20;
inline constexpr uint32_t kMinDegree = 10;
inline constexpr uint32_t kMinThreshold = 5;

// How a cohort of one size is wired, as every member computes it from the configuration.
struct GraphShape {
  uint32_t size = 0;
  uint32_t degree = 0;     // k; size - 1 in a complete graph
  uint32_t threshold = 0;  // t: shares that open a secret, and signatures that vouch
  uint32_t quorum = 0;     // of the whole cohort, shareholders as well as survivors
  [[nodiscard]] bool complete() const { return degree + 1 >= size; }
  friend bool operator==(const GraphShape&, const GraphShape&) = default;
};

// Complete: t = quorum = floor(2n/3) + 1, so that two disjoint halves cannot both reach it even if
// a third of the nodes helps the server (Bonawitz et al. 2017, theorem 6.5). Regular: k and t of
// FindGraphParameters(), quorum = what remains if the promised share of nodes falls silent; the
// complete graph where those conditions ask for no less.
GraphShape ShapeOf(const SessionConfig& config, uint32_t size);

// Who shares masks and secrets with whom. Every loop over "the others" goes through here. A node's
// place is its index in the order of the cohort's ids.
//
// A regular graph is a Harary graph: nodes stand on a ring in an order drawn from a seed that
// nobody knew before the keys were fixed, and each is joined to the k/2 on either side.
class CohortGraph {
 public:
  CohortGraph() = default;
  CohortGraph(const GraphShape& shape, const Digest& seed);

  [[nodiscard]] const GraphShape& shape() const { return shape_; }
  [[nodiscard]] uint32_t size() const { return shape_.size; }
  [[nodiscard]] uint32_t threshold() const { return shape_.threshold; }
  // The other ends of a node's edges, ascending; without itself.
  [[nodiscard]] std::vector<uint32_t> Neighbours(uint32_t place) const;
  // Who holds shares of a node's secrets, ascending; share number i + 1 is the i-th's. In a
  // complete graph a node holds one of its own, in a regular one only its neighbours do.
  [[nodiscard]] std::vector<uint32_t> Holders(uint32_t place) const;
  // Whether each of `owners` has at least t holders among `present`; both have a value per place.
  [[nodiscard]] bool Covers(const std::vector<bool>& owners,
                            const std::vector<bool>& present) const;

 private:
  GraphShape shape_;
  std::vector<uint32_t> ring_;      // places in the order of the ring; empty if complete
  std::vector<uint32_t> position_;  // of each place on the ring
};

}  // namespace choir::secagg

#endif  // CHOIR_SECURE_AGG_CORE_GRAPH_H_
