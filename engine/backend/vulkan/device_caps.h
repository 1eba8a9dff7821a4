#ifndef CHOIR_ENGINE_BACKEND_VULKAN_DEVICE_CAPS_H_
#define CHOIR_ENGINE_BACKEND_VULKAN_DEVICE_CAPS_H_

// What a physical device is and offers. Everything beyond Vulkan 1.1 core is asked for here and
// nowhere assumed.

#include <array>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include <vulkan/vulkan.h>

#include "engine/backend/backend.h"
#include "engine/backend/vulkan/matrix_shape.h"

namespace choir::engine::vulkan {

struct DeviceCaps {
  std::string name;
  std::string driver;
  uint32_t vendor_id = 0;
  uint32_t device_id = 0;
  uint32_t driver_version = 0;
  std::array<uint8_t, VK_UUID_SIZE> cache_uuid{};
  VkPhysicalDeviceType type = VK_PHYSICAL_DEVICE_TYPE_OTHER;

  uint32_t compute_queue_family = VK_QUEUE_FAMILY_IGNORED;
  uint64_t max_binding_bytes = 0;     // maxStorageBufferRange
  uint64_t max_allocation_bytes = 0;  // maxMemoryAllocationSize
  uint64_t storage_alignment = 1;     // minStorageBufferOffsetAlignment
  uint32_t max_shared_bytes = 0;
  uint32_t max_invocations = 0;
  std::array<uint32_t, 3> max_groups{};
  uint32_t max_push_bytes = 0;
  uint32_t max_storage_buffers = 0;  // one shader may bind
  uint64_t max_texels = 0;           // of one texel buffer: maxTexelBufferElements
  uint64_t texel_alignment = 1;      // minTexelBufferOffsetAlignment
  VkPhysicalDeviceMemoryProperties memory{};
  double timestamp_seconds = 0;  // of one tick on the compute queue; 0: it keeps no time

  uint32_t subgroup_size = 1;
  bool subgroup_arithmetic = false;
  bool fp16 = false;
  bool storage_16bit = false;
  bool storage_8bit = false;
  bool int8_dot = false;
  MatrixShape matrix;           // of cooperative matrices; none where m is 0
  bool full_subgroups = false;  // a pipeline may insist on subgroups of subgroup_size
  bool memory_budget = false;
  bool unified_memory = false;  // the CPU and the GPU share one memory
  bool lanes = false;           // the device is a CPU: take the shaders made for one (lane_*)

  [[nodiscard]] bool IsSoftware() const { return type == VK_PHYSICAL_DEVICE_TYPE_CPU; }
};

DeviceCaps ProbeDevice(VkInstance instance, VkPhysicalDevice device);

// Bytes of device-local memory that this process may hope to use: the budget where the driver
// tells it, else the largest device-local heap.
uint64_t UsableMemoryBytes(VkPhysicalDevice device, const DeviceCaps& caps);

// UNAVAILABLE if the device lacks something that no kernel can do without (says what).
absl::Status CheckUsable(const DeviceCaps& caps);

DeviceInfo ToDeviceInfo(VkPhysicalDevice device, const DeviceCaps& caps);

}  // namespace choir::engine::vulkan

#endif  // CHOIR_ENGINE_BACKEND_VULKAN_DEVICE_CAPS_H_
