#ifndef CHOIR_SECURE_AGG_CORE_GRAPH_PARAMETERS_H_
#define CHOIR_SECURE_AGG_CORE_GRAPH_PARAMETERS_H_

#include <cstdint>
#include <optional>

namespace choir::secagg {

// How many neighbours each node of a random k-regular Harary graph needs, and how many of them must
// hold together: Bell, Bonawitz, Gascón, Lepoint, Raykova, CCS 2020, section 3 and appendix, by
// tails of the hypergeometric distribution.

// A coordinator that follows the protocol, or one that asks different nodes for different kinds of
// shares.
enum class CoordinatorModel : uint8_t { kCurious, kLying };

struct GraphDemand {
  uint32_t size = 0;             // n
  uint32_t corrupt_percent = 0;  // gamma: nodes that work with the coordinator
  uint32_t dropout_percent = 0;  // delta: nodes that fall silent
  CoordinatorModel coordinator = CoordinatorModel::kLying;
  // The conditions are statistical; these floors hold whatever they say.
  uint32_t min_degree = 2;
  uint32_t min_threshold = 2;
};

struct GraphParameters {
  uint32_t degree = 0;     // k, even
  uint32_t threshold = 0;  // t of the k neighbours
  friend bool operator==(const GraphParameters&, const GraphParameters&) = default;
};

// The smallest even k < n - 1 and its t with which, but for a chance of 2^-40, no honest node is
// cut off and no t corrupt neighbours (with a lying coordinator: no two sets of t neighbours that
// have only corrupt nodes in common) come together, and, but for one of 2^-20, t neighbours of each
// node remain. Nothing if there is none: then only the complete graph will do. O(n^2) time at most.
std::optional<GraphParameters> FindGraphParameters(const GraphDemand& demand);

// Whether the model can bear such fractions at all: gamma + delta <= 0.9, or gamma + 2 delta <= 0.9
// with a lying coordinator.
bool IsBearable(uint32_t corrupt_percent, uint32_t dropout_percent, CoordinatorModel coordinator);

}  // namespace choir::secagg

#endif  // CHOIR_SECURE_AGG_CORE_GRAPH_PARAMETERS_H_
