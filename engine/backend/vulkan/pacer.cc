#include "engine/backend/vulkan/pacer.h"

#include <algorithm>

namespace choir::engine::vulkan {
namespace {

// First guesses, on the slow side of each kind: too many small submissions cost little.
double GuessWorkPerSecond(VkPhysicalDeviceType type) {
  switch (type) {
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
      return 1e12;
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
      return 5e10;
    default:
      return 5e9;
  }
}

// Bounds against a clock that jumps or a run of nothing but tiny ops.
constexpr double kMinWorkPerSecond = 1e8;
constexpr double kMaxWorkPerSecond = 1e14;
// Below this a run says more about fixed costs than about speed.
constexpr double kMinObservedSeconds = 0.005;

}  // namespace

Pacer::Pacer(VkPhysicalDeviceType type, double fixed_work)
    : fixed_work_(fixed_work), work_per_second_(GuessWorkPerSecond(type)) {}

void Pacer::Observe(double work, double seconds) {
  if (seconds < kMinObservedSeconds || work <= 0) return;
  const double measured = std::clamp(work / seconds, kMinWorkPerSecond, kMaxWorkPerSecond);
  // Half-way there: one odd run (another program's load) does not turn the plan over.
  work_per_second_ = 0.5 * (work_per_second_ + measured);
}

}  // namespace choir::engine::vulkan
