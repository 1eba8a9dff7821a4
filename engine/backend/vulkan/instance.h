#ifndef CHOIR_ENGINE_BACKEND_VULKAN_INSTANCE_H_
#define CHOIR_ENGINE_BACKEND_VULKAN_INSTANCE_H_

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include <vulkan/vulkan.h>

#include "engine/backend/vulkan/handle.h"
#include "engine/backend/vulkan/validation_log.h"

namespace choir::engine::vulkan {

// The connection to the Vulkan loader, with the validation layers' messenger if asked for.
class Instance {
 public:
  // UNAVAILABLE says what to install: no driver, or no validation layers.
  // `log` receives the layers' warnings and errors; null: no validation. Shared with the caller,
  // because leaks are reported only when the instance goes away.
  static absl::StatusOr<Instance> Create(std::shared_ptr<ValidationLog> log);

  Instance(Instance&& other) noexcept;
  Instance& operator=(Instance&&) = delete;
  ~Instance();

  // Devices that speak Vulkan 1.1 or newer, in the driver's order. May be empty.
  [[nodiscard]] absl::StatusOr<std::vector<VkPhysicalDevice>> PhysicalDevices() const;
  [[nodiscard]] VkInstance get() const { return instance_.get(); }
  [[nodiscard]] ValidationLog* log() const { return log_.get(); }

 private:
  Instance() = default;
  absl::Status CreateMessenger();

  std::shared_ptr<ValidationLog> log_;
  UniqueInstance instance_;
  VkDebugUtilsMessengerEXT messenger_ = VK_NULL_HANDLE;
};

}  // namespace choir::engine::vulkan

#endif  // CHOIR_ENGINE_BACKEND_VULKAN_INSTANCE_H_
