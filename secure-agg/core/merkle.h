#ifndef CHOIR_SECURE_AGG_CORE_MERKLE_H_
#define CHOIR_SECURE_AGG_CORE_MERKLE_H_

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/sha256.h"

namespace choir::secagg {

// A binary tree of hashes (Merkle 1987): neighbours are joined level by level, and the last of an
// odd number goes up as it is, as in RFC 6962. Leaves and inner nodes are hashed under labels of
// their own, so that neither can be taken for the other.
class MerkleTree {
 public:
  // `leaves` are hashes already; at least one.
  explicit MerkleTree(std::vector<Digest> leaves);
  [[nodiscard]] const Digest& root() const { return levels_.back().front(); }
  // The siblings from a leaf up to the root.
  [[nodiscard]] std::vector<Digest> Path(uint32_t leaf) const;

 private:
  std::vector<std::vector<Digest>> levels_;
};

// The root that a leaf and its path give in a tree of `size` leaves. Nothing if `place` is outside
// the tree or the path has another length than that place's.
std::optional<Digest> RootOf(const Digest& leaf, uint32_t place, uint32_t size,
                             std::span<const Digest> path);

}  // namespace choir::secagg

#endif  // CHOIR_SECURE_AGG_CORE_MERKLE_H_
