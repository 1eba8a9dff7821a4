#include "engine/backend/vulkan/device_features.h"

#include <algorithm>

#include "engine/backend/vulkan/device_caps.h"
#include "engine/backend/vulkan/matrix_shape.h"

namespace choir::engine::vulkan {

DeviceExtensions::DeviceExtensions(VkPhysicalDevice device) {
  uint32_t count = 0;
  vkEnumerateDeviceExtensionProperties(device, nullptr, &count, nullptr);
  all_.resize(count);
  vkEnumerateDeviceExtensionProperties(device, nullptr, &count, all_.data());
  all_.resize(count);
}

bool DeviceExtensions::Has(std::string_view name) const {
  return std::any_of(all_.begin(), all_.end(),
                     [name](const auto& e) { return name == e.extensionName; });
}

FeatureChain::FeatureChain() {
  head.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
  storage16.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_16BIT_STORAGE_FEATURES;
  storage8.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_8BIT_STORAGE_FEATURES;
  fp16.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_FLOAT16_INT8_FEATURES;
  dot.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES;
  subgroups.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES_EXT;
  memory_model.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_MEMORY_MODEL_FEATURES;
#if defined(CHOIR_MATRIX_KHR)
  matrix.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR;
#elif defined(CHOIR_MATRIX_NV)
  matrix.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_NV;
#endif
}

bool FeatureChain::HasMatrices() const {
#if defined(CHOIR_MATRIX_KHR) || defined(CHOIR_MATRIX_NV)
  return matrix.cooperativeMatrix == VK_TRUE && memory_model.vulkanMemoryModel == VK_TRUE;
#else
  return false;
#endif
}

template <typename Structure>
void FeatureChain::Link(Structure& structure, const char* extension) {
  structure.pNext = head.pNext;
  head.pNext = &structure;
  extensions.push_back(extension);
}

FeatureChain::FeatureChain(VkPhysicalDevice device, const DeviceExtensions& known)
    : FeatureChain() {
  const auto link = [&](auto& structure, const char* extension) {
    if (known.Has(extension)) Link(structure, extension);
  };
  link(storage16, VK_KHR_16BIT_STORAGE_EXTENSION_NAME);
  link(storage8, VK_KHR_8BIT_STORAGE_EXTENSION_NAME);
  link(fp16, VK_KHR_SHADER_FLOAT16_INT8_EXTENSION_NAME);
  link(dot, VK_KHR_SHADER_INTEGER_DOT_PRODUCT_EXTENSION_NAME);
  link(subgroups, VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME);
  link(memory_model, VK_KHR_VULKAN_MEMORY_MODEL_EXTENSION_NAME);
#if defined(CHOIR_MATRIX_KHR) || defined(CHOIR_MATRIX_NV)
  link(matrix, MatrixExtension());
#endif
  vkGetPhysicalDeviceFeatures2(device, &head);
}

FeatureChain::FeatureChain(const DeviceCaps& caps) : FeatureChain() {
  if (caps.fp16) {
    fp16.shaderFloat16 = VK_TRUE;
    Link(fp16, VK_KHR_SHADER_FLOAT16_INT8_EXTENSION_NAME);
  }
  if (caps.int8_dot) {
    dot.shaderIntegerDotProduct = VK_TRUE;
    Link(dot, VK_KHR_SHADER_INTEGER_DOT_PRODUCT_EXTENSION_NAME);
  }
#if defined(CHOIR_MATRIX_KHR) || defined(CHOIR_MATRIX_NV)
  if (caps.matrix.m == 0) return;
  matrix.cooperativeMatrix = VK_TRUE;
  Link(matrix, MatrixExtension());
  memory_model.vulkanMemoryModel = VK_TRUE;
  Link(memory_model, VK_KHR_VULKAN_MEMORY_MODEL_EXTENSION_NAME);
  if (!caps.full_subgroups) return;
  subgroups.subgroupSizeControl = VK_TRUE;
  subgroups.computeFullSubgroups = VK_TRUE;
  Link(subgroups, VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME);
#endif
}

}  // namespace choir::engine::vulkan
