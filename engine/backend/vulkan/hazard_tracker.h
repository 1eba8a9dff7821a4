#ifndef CHOIR_ENGINE_BACKEND_VULKAN_HAZARD_TRACKER_H_
#define CHOIR_ENGINE_BACKEND_VULKAN_HAZARD_TRACKER_H_

#include <span>
#include <vector>

#include "engine/backend/vulkan/command_list.h"

namespace choir::engine::vulkan {

// Knows which bytes were touched since the last barrier. Pure.
class HazardTracker {
 public:
  // True if one of the accesses must wait for an earlier one: it reads or writes what was written,
  // or writes what was read. The caller then puts a full barrier before it; all earlier accesses
  // are forgotten. The accesses themselves are remembered.
  bool Add(std::span<const Access> accesses);

 private:
  [[nodiscard]] bool Conflicts(const Access& access) const;

  std::vector<Access> since_barrier_;
};

}  // namespace choir::engine::vulkan

#endif  // CHOIR_ENGINE_BACKEND_VULKAN_HAZARD_TRACKER_H_
