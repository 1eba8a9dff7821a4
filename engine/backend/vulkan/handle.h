#ifndef CHOIR_ENGINE_BACKEND_VULKAN_HANDLE_H_
#define CHOIR_ENGINE_BACKEND_VULKAN_HANDLE_H_

// Move-only owners of Vulkan handles: nothing in this folder calls a vkDestroy* by hand.

#include <utility>

#include <vulkan/vulkan.h>

namespace choir::engine::vulkan {

// A handle that a device made. The device must outlive it.
template <typename Handle, void(VKAPI_PTR* Destroy)(VkDevice, Handle, const VkAllocationCallbacks*)>
class DeviceOwned {
 public:
  DeviceOwned() = default;
  DeviceOwned(VkDevice device, Handle handle) : device_(device), handle_(handle) {}
  DeviceOwned(DeviceOwned&& other) noexcept
      : device_(other.device_), handle_(std::exchange(other.handle_, VK_NULL_HANDLE)) {}
  DeviceOwned& operator=(DeviceOwned&& other) noexcept {
    if (this != &other) {
      Reset();
      device_ = other.device_;
      handle_ = std::exchange(other.handle_, VK_NULL_HANDLE);
    }
    return *this;
  }
  ~DeviceOwned() { Reset(); }

  [[nodiscard]] Handle get() const { return handle_; }

 private:
  void Reset() {
    if (handle_ != VK_NULL_HANDLE) Destroy(device_, handle_, nullptr);
    handle_ = VK_NULL_HANDLE;
  }

  VkDevice device_ = VK_NULL_HANDLE;
  Handle handle_ = VK_NULL_HANDLE;
};

using UniqueBuffer = DeviceOwned<VkBuffer, vkDestroyBuffer>;
using UniqueBufferView = DeviceOwned<VkBufferView, vkDestroyBufferView>;
using UniqueMemory = DeviceOwned<VkDeviceMemory, vkFreeMemory>;
using UniqueFence = DeviceOwned<VkFence, vkDestroyFence>;
using UniqueCommandPool = DeviceOwned<VkCommandPool, vkDestroyCommandPool>;
using UniqueDescriptorPool = DeviceOwned<VkDescriptorPool, vkDestroyDescriptorPool>;
using UniqueDescriptorSetLayout = DeviceOwned<VkDescriptorSetLayout, vkDestroyDescriptorSetLayout>;
using UniquePipelineLayout = DeviceOwned<VkPipelineLayout, vkDestroyPipelineLayout>;
using UniquePipeline = DeviceOwned<VkPipeline, vkDestroyPipeline>;
using UniquePipelineCache = DeviceOwned<VkPipelineCache, vkDestroyPipelineCache>;
using UniqueQueryPool = DeviceOwned<VkQueryPool, vkDestroyQueryPool>;
using UniqueShaderModule = DeviceOwned<VkShaderModule, vkDestroyShaderModule>;

// An instance or a device: nobody's child here.
template <typename Handle, void(VKAPI_PTR* Destroy)(Handle, const VkAllocationCallbacks*)>
class RootOwned {
 public:
  RootOwned() = default;
  explicit RootOwned(Handle handle) : handle_(handle) {}
  RootOwned(RootOwned&& other) noexcept : handle_(std::exchange(other.handle_, VK_NULL_HANDLE)) {}
  RootOwned& operator=(RootOwned&& other) noexcept {
    if (this != &other) {
      Reset();
      handle_ = std::exchange(other.handle_, VK_NULL_HANDLE);
    }
    return *this;
  }
  ~RootOwned() { Reset(); }

  [[nodiscard]] Handle get() const { return handle_; }

 private:
  void Reset() {
    if (handle_ != VK_NULL_HANDLE) Destroy(handle_, nullptr);
    handle_ = VK_NULL_HANDLE;
  }

  Handle handle_ = VK_NULL_HANDLE;
};

using UniqueInstance = RootOwned<VkInstance, vkDestroyInstance>;
using UniqueDevice = RootOwned<VkDevice, vkDestroyDevice>;

}  // namespace choir::engine::vulkan

#endif  // CHOIR_ENGINE_BACKEND_VULKAN_HANDLE_H_
