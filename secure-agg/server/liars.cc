#include "secure-agg/server/liars.h"

#include <map>
#include <set>

namespace choir::secagg {

uint32_t MostLiars(uint32_t holders, uint32_t threshold) {
  return 2 * threshold > holders ? 2 * threshold - holders - 1 : 0;
}

std::vector<uint32_t> LiarsAmong(std::span<const Mismatch> mismatches, uint32_t most_liars) {
  std::map<uint32_t, std::set<uint32_t>> at_odds_with;
  for (const Mismatch& mismatch : mismatches) {
    // What a node does to itself is nobody's testimony.
    if (mismatch.holder == mismatch.owner) continue;
    at_odds_with[mismatch.holder].insert(mismatch.owner);
    at_odds_with[mismatch.owner].insert(mismatch.holder);
  }
  std::vector<uint32_t> liars;
  for (const auto& [node, others] : at_odds_with) {
    if (others.size() > most_liars) liars.push_back(node);
  }
  return liars;
}

}  // namespace choir::secagg
