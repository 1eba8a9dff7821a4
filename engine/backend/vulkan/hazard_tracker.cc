#include "engine/backend/vulkan/hazard_tracker.h"

#include <algorithm>

namespace choir::engine::vulkan {
namespace {

bool Overlap(const Range& a, const Range& b) {
  return a.buffer == b.buffer && a.piece == b.piece && a.offset < b.offset + b.bytes &&
         b.offset < a.offset + a.bytes;
}

}  // namespace

bool HazardTracker::Conflicts(const Access& access) const {
  if (!access.reads && !access.writes) return false;
  return std::any_of(since_barrier_.begin(), since_barrier_.end(), [&](const Access& earlier) {
    return (access.writes || earlier.writes) && Overlap(access.range, earlier.range);
  });
}

bool HazardTracker::Add(std::span<const Access> accesses) {
  const bool conflict = std::any_of(accesses.begin(), accesses.end(),
                                    [this](const Access& access) { return Conflicts(access); });
  if (conflict) since_barrier_.clear();
  for (const Access& access : accesses) {
    if (access.reads || access.writes) since_barrier_.push_back(access);
  }
  return conflict;
}

}  // namespace choir::engine::vulkan
