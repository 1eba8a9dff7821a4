#include "engine/backend/vulkan/device_features.h"

#include <algorithm>

#include "engine/backend/vulkan/device_caps.h"

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
}

}  // namespace choir::engine::vulkan
