#ifndef CHOIR_ENGINE_BACKEND_VULKAN_DEVICE_FEATURES_H_
#define CHOIR_ENGINE_BACKEND_VULKAN_DEVICE_FEATURES_H_

#include <string_view>
#include <vector>

#include <vulkan/vulkan.h>

namespace choir::engine::vulkan {

struct DeviceCaps;

// What a device's driver names as its extensions.
class DeviceExtensions {
 public:
  explicit DeviceExtensions(VkPhysicalDevice device);
  [[nodiscard]] bool Has(std::string_view name) const;

 private:
  std::vector<VkExtensionProperties> all_;
};

// The features beyond Vulkan 1.1 that kernels may use, as Vulkan wants them: a chain of structures,
// to ask a device what it has, and to open it with those of them that are used. Not movable: the
// structures point to each other.
struct FeatureChain {
  VkPhysicalDeviceFeatures2 head{};
  VkPhysicalDevice16BitStorageFeatures storage16{};
  VkPhysicalDevice8BitStorageFeatures storage8{};
  VkPhysicalDeviceShaderFloat16Int8Features fp16{};
  VkPhysicalDeviceShaderIntegerDotProductFeatures dot{};
  VkPhysicalDeviceSubgroupSizeControlFeaturesEXT subgroups{};
  VkPhysicalDeviceVulkanMemoryModelFeatures memory_model{};
#if defined(CHOIR_MATRIX_KHR)
  VkPhysicalDeviceCooperativeMatrixFeaturesKHR matrix{};
#elif defined(CHOIR_MATRIX_NV)
  VkPhysicalDeviceCooperativeMatrixFeaturesNV matrix{};
#endif
  std::vector<const char*> extensions;  // that the structures of the chain need

  // What the device has, of all that its extensions let it be asked.
  FeatureChain(VkPhysicalDevice device, const DeviceExtensions& extensions);
  // What the kernels use of a device with these caps.
  explicit FeatureChain(const DeviceCaps& caps);
  FeatureChain(const FeatureChain&) = delete;
  FeatureChain& operator=(const FeatureChain&) = delete;
  ~FeatureChain() = default;

  // All that the shaders with cooperative matrices need of these.
  [[nodiscard]] bool HasMatrices() const;

 private:
  FeatureChain();
  template <typename Structure>
  void Link(Structure& structure, const char* extension);
};

}  // namespace choir::engine::vulkan

#endif  // CHOIR_ENGINE_BACKEND_VULKAN_DEVICE_FEATURES_H_
