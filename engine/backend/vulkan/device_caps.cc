#include "engine/backend/vulkan/device_caps.h"

#include <algorithm>
#include <cstring>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "engine/backend/vulkan/device_features.h"

namespace choir::engine::vulkan {
namespace {

// The largest workgroup and push-constant block that the kernels use; every known GPU since 2014
// has them, the Vulkan minimum (128 invocations) does not.
constexpr uint32_t kNeededInvocations = 256;
constexpr uint32_t kNeededSharedBytes = 16384;
constexpr uint32_t kNeededPushBytes = 128;
constexpr uint32_t kNeededStorageBuffers = 9;

// A queue family that computes but does not draw, if there is one: its work does not stand in the
// way of the screen's.
uint32_t ComputeQueueFamily(VkPhysicalDevice device) {
  uint32_t count = 0;
  vkGetPhysicalDeviceQueueFamilyProperties(device, &count, nullptr);
  std::vector<VkQueueFamilyProperties> families(count);
  vkGetPhysicalDeviceQueueFamilyProperties(device, &count, families.data());
  uint32_t found = VK_QUEUE_FAMILY_IGNORED;
  for (uint32_t i = 0; i < count; ++i) {
    const VkQueueFlags flags = families[i].queueFlags;
    if (families[i].queueCount == 0 || (flags & VK_QUEUE_COMPUTE_BIT) == 0) continue;
    if ((flags & VK_QUEUE_GRAPHICS_BIT) == 0) return i;
    if (found == VK_QUEUE_FAMILY_IGNORED) found = i;
  }
  return found;
}

void ProbeLimits(const VkPhysicalDeviceProperties& properties, DeviceCaps& caps) {
  const VkPhysicalDeviceLimits& limits = properties.limits;
  caps.name = properties.deviceName;
  caps.vendor_id = properties.vendorID;
  caps.device_id = properties.deviceID;
  caps.driver_version = properties.driverVersion;
  std::copy_n(properties.pipelineCacheUUID, VK_UUID_SIZE, caps.cache_uuid.begin());
  caps.type = properties.deviceType;
  caps.max_binding_bytes = limits.maxStorageBufferRange;
  // At least four f32, which a texel is.
  caps.storage_alignment = std::max<uint64_t>(limits.minStorageBufferOffsetAlignment, 16);
  caps.max_shared_bytes = limits.maxComputeSharedMemorySize;
  caps.max_invocations =
      std::min({limits.maxComputeWorkGroupInvocations, limits.maxComputeWorkGroupSize[0]});
  std::copy_n(limits.maxComputeWorkGroupCount, 3, caps.max_groups.begin());
  caps.max_push_bytes = limits.maxPushConstantsSize;
  caps.max_storage_buffers = limits.maxPerStageDescriptorStorageBuffers;
  caps.max_texels = limits.maxTexelBufferElements;
  caps.texel_alignment = std::max<uint64_t>(limits.minTexelBufferOffsetAlignment, 16);
  if (limits.timestampComputeAndGraphics == VK_TRUE) {
    caps.timestamp_seconds = 1e-9 * static_cast<double>(limits.timestampPeriod);
  }
}

void ProbeFeatures(VkPhysicalDevice device, const DeviceExtensions& extensions, DeviceCaps& caps) {
  const FeatureChain features(device, extensions);
  caps.storage_16bit = features.storage16.storageBuffer16BitAccess == VK_TRUE;
  caps.storage_8bit = features.storage8.storageBuffer8BitAccess == VK_TRUE;
  caps.fp16 = features.fp16.shaderFloat16 == VK_TRUE;
  caps.int8_dot = features.dot.shaderIntegerDotProduct == VK_TRUE;
  caps.full_subgroups = features.subgroups.subgroupSizeControl == VK_TRUE &&
                        features.subgroups.computeFullSubgroups == VK_TRUE;
  // Its shaders need more than the matrices.
  if (!features.HasMatrices() || !caps.fp16 || !caps.subgroup_arithmetic) caps.matrix = {};
  caps.memory_budget = extensions.Has(VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
}

bool HasUnifiedMemory(const DeviceCaps& caps) {
  if (caps.type != VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU && !caps.IsSoftware()) return false;
  constexpr VkMemoryPropertyFlags kBoth = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT |
                                          VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT |
                                          VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
  for (uint32_t i = 0; i < caps.memory.memoryTypeCount; ++i) {
    if ((caps.memory.memoryTypes[i].propertyFlags & kBoth) == kBoth) return true;
  }
  return false;
}

}  // namespace

DeviceCaps ProbeDevice(VkInstance instance, VkPhysicalDevice device) {
  DeviceCaps caps;
  const DeviceExtensions extensions(device);
  VkPhysicalDeviceMaintenance3Properties maintenance{};
  maintenance.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_3_PROPERTIES;
  VkPhysicalDeviceSubgroupProperties subgroup{};
  subgroup.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES;
  subgroup.pNext = &maintenance;
  VkPhysicalDeviceDriverProperties driver{};
  driver.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES;
  VkPhysicalDeviceProperties2 properties{};
  properties.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2;
  properties.pNext = &subgroup;
  if (extensions.Has(VK_KHR_DRIVER_PROPERTIES_EXTENSION_NAME)) {
    driver.pNext = properties.pNext;
    properties.pNext = &driver;
  }
  vkGetPhysicalDeviceProperties2(device, &properties);
  ProbeLimits(properties.properties, caps);
  caps.driver = fmt::format("{} {}", driver.driverName, driver.driverInfo);
  caps.max_allocation_bytes = maintenance.maxMemoryAllocationSize;
  caps.subgroup_size = subgroup.subgroupSize;
  caps.subgroup_arithmetic =
      (subgroup.supportedStages & VK_SHADER_STAGE_COMPUTE_BIT) != 0 &&
      (subgroup.supportedOperations & VK_SUBGROUP_FEATURE_ARITHMETIC_BIT) != 0;
  vkGetPhysicalDeviceMemoryProperties(device, &caps.memory);
  caps.compute_queue_family = ComputeQueueFamily(device);
  caps.matrix = ProbeMatrixShape(instance, device, extensions);
  ProbeFeatures(device, extensions, caps);
  caps.unified_memory = HasUnifiedMemory(caps);
  // Some software devices have texel buffers that are too short for a weight's words.
  caps.lanes = caps.IsSoftware() && caps.max_texels >= caps.max_binding_bytes / 4;
  return caps;
}

uint64_t UsableMemoryBytes(VkPhysicalDevice device, const DeviceCaps& caps) {
  VkPhysicalDeviceMemoryBudgetPropertiesEXT budget{};
  budget.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT;
  VkPhysicalDeviceMemoryProperties2 memory{};
  memory.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2;
  if (caps.memory_budget) memory.pNext = &budget;
  vkGetPhysicalDeviceMemoryProperties2(device, &memory);
  uint64_t largest = 0;
  for (uint32_t i = 0; i < memory.memoryProperties.memoryHeapCount; ++i) {
    const VkMemoryHeap& heap = memory.memoryProperties.memoryHeaps[i];
    if ((heap.flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) == 0) continue;
    uint64_t bytes = heap.size;
    if (caps.memory_budget && budget.heapBudget[i] > 0) {
      const uint64_t used = std::min(budget.heapUsage[i], budget.heapBudget[i]);
      bytes = std::min(bytes, budget.heapBudget[i] - used);
    }
    largest = std::max(largest, bytes);
  }
  return largest;
}

absl::Status CheckUsable(const DeviceCaps& caps) {
  if (caps.compute_queue_family == VK_QUEUE_FAMILY_IGNORED) {
    return absl::UnavailableError(fmt::format("{} has no compute queue", caps.name));
  }
  if (caps.max_invocations < kNeededInvocations || caps.max_shared_bytes < kNeededSharedBytes ||
      caps.max_push_bytes < kNeededPushBytes || caps.max_storage_buffers < kNeededStorageBuffers) {
    return absl::UnavailableError(fmt::format(
        "{} is too small: {} invocations a workgroup (need {}), {} bytes of shared memory (need "
        "{}), {} bytes of push constants (need {}), {} storage buffers a shader (need {})",
        caps.name, caps.max_invocations, kNeededInvocations, caps.max_shared_bytes,
        kNeededSharedBytes, caps.max_push_bytes, kNeededPushBytes, caps.max_storage_buffers,
        kNeededStorageBuffers));
  }
  return absl::OkStatus();
}

DeviceInfo ToDeviceInfo(VkPhysicalDevice device, const DeviceCaps& caps) {
  DeviceInfo info;
  info.backend = "vulkan";
  info.name = caps.name;
  info.driver = caps.driver;
  info.memory_bytes = UsableMemoryBytes(device, caps);
  info.max_buffer_range_bytes = caps.max_binding_bytes;
  info.is_software = caps.IsSoftware();
  info.features.push_back(fmt::format("subgroup {}", caps.subgroup_size));
  const std::pair<bool, const char*> optional[] = {
      {caps.subgroup_arithmetic, "subgroup arithmetic"},
      {caps.fp16, "fp16"},
      {caps.storage_16bit, "16-bit storage"},
      {caps.storage_8bit, "8-bit storage"},
      {caps.int8_dot, "int8 dot product"},
      {caps.memory_budget, "memory budget"},
      {caps.unified_memory, "unified memory"},
  };
  for (const auto& [has, name] : optional) {
    if (has) info.features.emplace_back(name);
  }
  if (caps.matrix.m > 0) {
    info.features.push_back(fmt::format("cooperative matrix {} x {} x {}", caps.matrix.m,
                                        caps.matrix.n, caps.matrix.k));
  }
  return info;
}

}  // namespace choir::engine::vulkan
