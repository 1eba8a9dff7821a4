#include "secure-agg/core/merkle.h"

#include <string_view>
#include <utility>

#include "base/check.h"

namespace choir::secagg {
namespace {

Digest Join(const Digest& left, const Digest& right) {
  constexpr std::string_view kLabel("choir/secagg/node\0", 18);
  return Sha256().Update(kLabel).Update(left).Update(right).Finish();
}

}  // namespace

MerkleTree::MerkleTree(std::vector<Digest> leaves) {
  CHOIR_CHECK(!leaves.empty());
  levels_.push_back(std::move(leaves));
  while (levels_.back().size() > 1) {
    const std::vector<Digest>& below = levels_.back();
    std::vector<Digest> level;
    for (size_t i = 0; i + 1 < below.size(); i += 2) level.push_back(Join(below[i], below[i + 1]));
    if (below.size() % 2 != 0) level.push_back(below.back());
    levels_.push_back(std::move(level));
  }
}

std::vector<Digest> MerkleTree::Path(uint32_t leaf) const {
  CHOIR_CHECK(leaf < levels_.front().size());
  std::vector<Digest> path;
  size_t place = leaf;
  for (const std::vector<Digest>& level : levels_) {
    const size_t sibling = place ^ 1;
    if (sibling < level.size()) path.push_back(level[sibling]);
    place /= 2;
  }
  return path;
}

std::optional<Digest> RootOf(const Digest& leaf, uint32_t place, uint32_t size,
                             std::span<const Digest> path) {
  if (place >= size) return std::nullopt;
  Digest hash = leaf;
  for (; size > 1; place /= 2, size = (size + 1) / 2) {
    if ((place ^ 1) >= size) continue;  // the last of an odd number
    if (path.empty()) return std::nullopt;
    hash = place % 2 == 0 ? Join(hash, path.front()) : Join(path.front(), hash);
    path = path.subspan(1);
  }
  if (!path.empty()) return std::nullopt;
  return hash;
}

}  // namespace choir::secagg
