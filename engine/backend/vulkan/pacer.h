#ifndef CHOIR_ENGINE_BACKEND_VULKAN_PACER_H_
#define CHOIR_ENGINE_BACKEND_VULKAN_PACER_H_

#include <vulkan/vulkan.h>

namespace choir::engine::vulkan {

// How much work one submission may hold, so that a background trainer never keeps the GPU from
// the screen for long. Starts from a guess by the kind of device and follows what is measured.
// Pure: times are arguments.
class Pacer {
 public:
  // A frame or two at 60 Hz; short enough that pausing feels immediate.
  static constexpr double kTargetSeconds = 0.03;

  // `fixed_work`: operations of a submission, whatever is measured; 0: none are fixed.
  explicit Pacer(VkPhysicalDeviceType type, double fixed_work = 0);

  // Estimated floating-point operations of one submission.
  [[nodiscard]] double WorkPerSubmission() const {
    return fixed_work_ > 0 ? fixed_work_ : work_per_second_ * kTargetSeconds;
  }
  // A run of so much work took so long.
  void Observe(double work, double seconds);

 private:
  double fixed_work_;
  double work_per_second_;
};

}  // namespace choir::engine::vulkan

#endif  // CHOIR_ENGINE_BACKEND_VULKAN_PACER_H_
