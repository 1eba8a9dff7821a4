#include "secure-agg/core/graph.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <optional>
#include <utility>

#include "base/check.h"
#include "secure-agg/core/graph_parameters.h"
#include "secure-agg/core/masking.h"
#include "secure-agg/core/seeded_bug.h"

namespace choir::secagg {
namespace {

// Uniform numbers from a seed that everybody in the cohort has: ChaCha20's key stream, 64 bits at a
// time, rejecting what would favour small numbers.
class RingSource {
 public:
  explicit RingSource(const Digest& seed) : stream_(Prg::kChaCha20, SecretBytes<32>(seed)) {}
  uint64_t Below(uint64_t bound) {
    const uint64_t uneven = (~uint64_t{0} % bound + 1) % bound;
    for (;;) {
      std::array<uint8_t, 8> bytes{};
      stream_.Next(bytes);
      uint64_t value = 0;
      for (size_t i = 0; i < bytes.size(); ++i) value |= uint64_t{bytes[i]} << (8 * i);
      if (value <= ~uint64_t{0} - uneven) return value % bound;
    }
  }

 private:
  MaskStream stream_;
};

// Fisher and Yates, from the last place down.
std::vector<uint32_t> DrawRing(uint32_t size, const Digest& seed) {
  std::vector<uint32_t> ring(size);
  std::iota(ring.begin(), ring.end(), 0u);
  RingSource source(seed);
  for (uint32_t i = size; i > 1; --i) std::swap(ring[i - 1], ring[source.Below(i)]);
  return ring;
}

}  // namespace

GraphShape ShapeOf(const SessionConfig& config, uint32_t size) {
  const uint32_t two_thirds = 2 * size / 3 + (CHOIR_SEEDED_BUG(4) ? 0 : 1);
  const GraphShape complete{size, size - 1, two_thirds, two_thirds};
  if (config.graph != GraphKind::kRegular || size < kSmallestSparseCohort) return complete;
  const std::optional<GraphParameters> found =
      FindGraphParameters({size, config.corrupt_percent, config.dropout_percent,
                           CoordinatorModel::kLying, kMinDegree, kMinThreshold});
  if (!found.has_value()) return complete;
  const uint32_t silent = size * config.dropout_percent / 100;
  return {size, found->degree, found->threshold, size - silent};
}

CohortGraph::CohortGraph(const GraphShape& shape, const Digest& seed) : shape_(shape) {
  if (shape.complete()) return;
  ring_ = DrawRing(shape.size, seed);
  position_.resize(shape.size);
  for (uint32_t i = 0; i < shape.size; ++i) position_[ring_[i]] = i;
}

std::vector<uint32_t> CohortGraph::Neighbours(uint32_t place) const {
  CHOIR_CHECK(place < shape_.size);
  std::vector<uint32_t> others;
  others.reserve(shape_.degree);
  if (ring_.empty()) {
    for (uint32_t i = 0; i < shape_.size; ++i) {
      if (i != place) others.push_back(i);
    }
    return others;
  }
  const uint32_t n = shape_.size;
  for (uint32_t step = 1; step <= shape_.degree / 2; ++step) {
    others.push_back(ring_[(position_[place] + step) % n]);
    others.push_back(ring_[(position_[place] + n - step) % n]);
  }
  std::ranges::sort(others);
  return others;
}

std::vector<uint32_t> CohortGraph::Holders(uint32_t place) const {
  std::vector<uint32_t> holders = Neighbours(place);
  if (ring_.empty()) holders.insert(holders.begin() + place, place);
  return holders;
}

bool CohortGraph::Covers(const std::vector<bool>& owners, const std::vector<bool>& present) const {
  CHOIR_CHECK(owners.size() == size() && present.size() == size());
  if (ring_.empty()) {
    return std::ranges::count(present, true) >= static_cast<ptrdiff_t>(shape_.threshold);
  }
  for (uint32_t owner = 0; owner < size(); ++owner) {
    if (!owners[owner]) continue;
    const std::vector<uint32_t> holders = Neighbours(owner);
    const auto here = std::ranges::count_if(holders, [&](uint32_t i) { return present[i]; });
    if (here < static_cast<ptrdiff_t>(shape_.threshold)) return false;
  }
  return true;
}

}  // namespace choir::secagg
