#ifndef CHOIR_ENGINE_BACKEND_VULKAN_DEVICE_H_
#define CHOIR_ENGINE_BACKEND_VULKAN_DEVICE_H_

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include <vulkan/vulkan.h>

#include "engine/backend/vulkan/device_caps.h"
#include "engine/backend/vulkan/handle.h"
#include "engine/backend/vulkan/instance.h"

namespace choir::engine::vulkan {

struct DeviceOptions {
  // As in ListVulkanDevices(), or -1: the best by type (discrete, integrated, virtual, software),
  // then memory.
  int index = -1;
  bool may_map = true;        // false: never map device memory, even where the CPU could see it
  bool may_subgroups = true;  // false: as if the device had no subgroup operations
  bool may_lanes = true;      // false: a GPU's shaders even on a device that is a CPU
  bool may_ways = true;       // false: as if the device had f32 products only
};

// An opened device with its one compute queue. Not thread-safe.
class Device {
 public:
  // UNAVAILABLE, NOT_FOUND (no such index).
  static absl::StatusOr<std::unique_ptr<Device>> Open(Instance instance,
                                                      const DeviceOptions& options);

  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  ~Device();

  [[nodiscard]] VkDevice get() const { return device_.get(); }
  [[nodiscard]] VkPhysicalDevice physical() const { return physical_; }
  [[nodiscard]] const DeviceCaps& caps() const { return caps_; }

  // An error of the validation layers since the device was opened, if there was one.
  [[nodiscard]] absl::Status ValidationStatus() const;

  absl::StatusOr<VkCommandBuffer> AllocateCommandBuffer();
  void FreeCommandBuffer(VkCommandBuffer commands);
  absl::StatusOr<UniqueFence> CreateFence();
  absl::Status Submit(VkCommandBuffer commands, VkFence fence);
  // Waits for the fence and resets it.
  absl::Status Wait(VkFence fence);
  // Commands that were submitted once. Move-only; waits when it goes away, for the commands'
  // buffers may go with it. The device must outlive it.
  class Running {
   public:
    Running(Device& device, VkCommandBuffer commands, UniqueFence fence)
        : device_(&device), commands_(commands), fence_(std::move(fence)) {}
    Running(Running&& other) noexcept
        : device_(other.device_),
          commands_(std::exchange(other.commands_, VK_NULL_HANDLE)),
          fence_(std::move(other.fence_)) {}
    Running& operator=(Running&& other) noexcept;
    ~Running() { static_cast<void>(Wait()); }

    // Until the device is done; the second time there is nothing to wait for.
    absl::Status Wait();

   private:
    Device* device_;
    VkCommandBuffer commands_;  // null: done
    UniqueFence fence_;
  };
  // A share of memory_use(), for as long as it lives. Move-only. The device must outlive it.
  class Allocation {
   public:
    Allocation(Device& device, uint64_t bytes);
    Allocation(Allocation&& other) noexcept
        : device_(std::exchange(other.device_, nullptr)), bytes_(other.bytes_) {}
    Allocation& operator=(Allocation&&) = delete;
    ~Allocation();

   private:
    Device* device_;  // null: moved away
    uint64_t bytes_;
  };
  [[nodiscard]] const DeviceMemoryUse& memory_use() const { return memory_use_; }

  // Records with `record` and submits.
  absl::StatusOr<Running> Start(absl::FunctionRef<void(VkCommandBuffer)> record);
  // And waits.
  absl::Status RunOnce(absl::FunctionRef<void(VkCommandBuffer)> record);

 private:
  Device(Instance instance, VkPhysicalDevice physical, DeviceCaps caps)
      : instance_(std::move(instance)), physical_(physical), caps_(std::move(caps)) {}
  absl::Status Init();

  Instance instance_;
  VkPhysicalDevice physical_;
  DeviceCaps caps_;
  UniqueDevice device_;
  VkQueue queue_ = VK_NULL_HANDLE;
  UniqueCommandPool pool_;
  DeviceMemoryUse memory_use_;
};

}  // namespace choir::engine::vulkan

#endif  // CHOIR_ENGINE_BACKEND_VULKAN_DEVICE_H_
