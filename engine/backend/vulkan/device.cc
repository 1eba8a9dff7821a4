#include "engine/backend/vulkan/device.h"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "engine/backend/vulkan/device_features.h"
#include "engine/backend/vulkan/result.h"

namespace choir::engine::vulkan {
namespace {

int TypeRank(VkPhysicalDeviceType type) {
  switch (type) {
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
      return 4;
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
      return 3;
    case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU:
      return 2;
    case VK_PHYSICAL_DEVICE_TYPE_CPU:
      return 1;
    default:
      return 0;
  }
}

// Position of the best usable device; -1 if none can be used.
int BestDevice(const Instance& instance, const std::vector<VkPhysicalDevice>& devices) {
  int best = -1;
  std::pair<int, uint64_t> best_score;
  for (size_t i = 0; i < devices.size(); ++i) {
    const DeviceCaps caps = ProbeDevice(instance.get(), devices[i]);
    if (!CheckUsable(caps).ok()) continue;
    const std::pair<int, uint64_t> score{TypeRank(caps.type), UsableMemoryBytes(devices[i], caps)};
    if (best >= 0 && score <= best_score) continue;
    best = static_cast<int>(i);
    best_score = score;
  }
  return best;
}

absl::StatusOr<VkPhysicalDevice> ChooseDevice(const Instance& instance,
                                              const std::vector<VkPhysicalDevice>& devices,
                                              int index) {
  if (devices.empty()) {
    return absl::UnavailableError(
        "no Vulkan 1.1 device: install your GPU's driver, or Mesa's (Debian: "
        "mesa-vulkan-drivers), or use the CPU backend");
  }
  if (index >= static_cast<int>(devices.size())) {
    return absl::NotFoundError(fmt::format("there is no Vulkan device {}; this machine has 0 to {}",
                                           index, devices.size() - 1));
  }
  const int chosen = index >= 0 ? index : BestDevice(instance, devices);
  if (chosen < 0) {
    return CheckUsable(ProbeDevice(instance.get(), devices.front()));
  }
  return devices[static_cast<size_t>(chosen)];
}

}  // namespace

absl::StatusOr<std::unique_ptr<Device>> Device::Open(Instance instance,
                                                     const DeviceOptions& options) {
  CHOIR_ASSIGN_OR_RETURN(const std::vector<VkPhysicalDevice> devices, instance.PhysicalDevices());
  CHOIR_ASSIGN_OR_RETURN(const VkPhysicalDevice physical,
                         ChooseDevice(instance, devices, options.index));
  DeviceCaps caps = ProbeDevice(instance.get(), physical);
  CHOIR_RETURN_IF_ERROR(CheckUsable(caps));
  caps.unified_memory = caps.unified_memory && options.may_map;
  caps.subgroup_arithmetic = caps.subgroup_arithmetic && options.may_subgroups;
  caps.lanes = caps.lanes && options.may_lanes;
  caps.fp16 = caps.fp16 && options.may_ways;
  caps.int8_dot = caps.int8_dot && options.may_ways;
  if (!options.may_ways || !caps.subgroup_arithmetic) caps.matrix = {};
  std::unique_ptr<Device> device(new Device(std::move(instance), physical, std::move(caps)));
  CHOIR_RETURN_IF_ERROR(device->Init());
  return device;
}

absl::Status Device::Init() {
  const float priority = 0.0f;  // a background trainer yields to what draws the screen
  VkDeviceQueueCreateInfo queue{};
  queue.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO;
  queue.queueFamilyIndex = caps_.compute_queue_family;
  queue.queueCount = 1;
  queue.pQueuePriorities = &priority;
  const FeatureChain features(caps_);
  VkDeviceCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO;
  info.pNext = &features.head;
  info.enabledExtensionCount = static_cast<uint32_t>(features.extensions.size());
  info.ppEnabledExtensionNames = features.extensions.data();
  info.queueCreateInfoCount = 1;
  info.pQueueCreateInfos = &queue;
  VkDevice handle = VK_NULL_HANDLE;
  CHOIR_VK_RETURN_IF_ERROR(vkCreateDevice(physical_, &info, nullptr, &handle), "vkCreateDevice");
  device_ = UniqueDevice(handle);
  vkGetDeviceQueue(handle, caps_.compute_queue_family, 0, &queue_);

  VkCommandPoolCreateInfo pool{};
  pool.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO;
  pool.flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT;
  pool.queueFamilyIndex = caps_.compute_queue_family;
  VkCommandPool pool_handle = VK_NULL_HANDLE;
  CHOIR_VK_RETURN_IF_ERROR(vkCreateCommandPool(handle, &pool, nullptr, &pool_handle),
                           "vkCreateCommandPool");
  pool_ = UniqueCommandPool(handle, pool_handle);
  return ValidationStatus();
}

Device::~Device() {
  if (device_.get() != VK_NULL_HANDLE) vkDeviceWaitIdle(device_.get());
}

absl::Status Device::ValidationStatus() const {
  return instance_.log() == nullptr ? absl::OkStatus() : instance_.log()->status();
}

absl::StatusOr<VkCommandBuffer> Device::AllocateCommandBuffer() {
  VkCommandBufferAllocateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO;
  info.commandPool = pool_.get();
  info.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY;
  info.commandBufferCount = 1;
  VkCommandBuffer commands = VK_NULL_HANDLE;
  CHOIR_VK_RETURN_IF_ERROR(vkAllocateCommandBuffers(get(), &info, &commands),
                           "vkAllocateCommandBuffers");
  return commands;
}

void Device::FreeCommandBuffer(VkCommandBuffer commands) {
  vkFreeCommandBuffers(get(), pool_.get(), 1, &commands);
}

absl::StatusOr<UniqueFence> Device::CreateFence() {
  VkFenceCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO;
  VkFence fence = VK_NULL_HANDLE;
  CHOIR_VK_RETURN_IF_ERROR(vkCreateFence(get(), &info, nullptr, &fence), "vkCreateFence");
  return UniqueFence(get(), fence);
}

absl::Status Device::Submit(VkCommandBuffer commands, VkFence fence) {
  VkSubmitInfo info{};
  info.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO;
  info.commandBufferCount = 1;
  info.pCommandBuffers = &commands;
  return ToStatus(vkQueueSubmit(queue_, 1, &info, fence), "vkQueueSubmit");
}

absl::Status Device::Wait(VkFence fence) {
  CHOIR_VK_RETURN_IF_ERROR(
      vkWaitForFences(get(), 1, &fence, VK_TRUE, std::numeric_limits<uint64_t>::max()),
      "vkWaitForFences");
  return ToStatus(vkResetFences(get(), 1, &fence), "vkResetFences");
}

Device::Running& Device::Running::operator=(Running&& other) noexcept {
  if (this != &other) {
    static_cast<void>(Wait());
    device_ = other.device_;
    commands_ = std::exchange(other.commands_, VK_NULL_HANDLE);
    fence_ = std::move(other.fence_);
  }
  return *this;
}

absl::Status Device::Running::Wait() {
  if (commands_ == VK_NULL_HANDLE) return absl::OkStatus();
  const absl::Status status = device_->Wait(fence_.get());
  device_->FreeCommandBuffer(std::exchange(commands_, VK_NULL_HANDLE));
  return status;
}

Device::Allocation::Allocation(Device& device, uint64_t bytes) : device_(&device), bytes_(bytes) {
  DeviceMemoryUse& use = device.memory_use_;
  use.now_bytes += bytes;
  use.most_bytes = std::max(use.most_bytes, use.now_bytes);
}

Device::Allocation::~Allocation() {
  if (device_ != nullptr) device_->memory_use_.now_bytes -= bytes_;
}

absl::StatusOr<Device::Running> Device::Start(absl::FunctionRef<void(VkCommandBuffer)> record) {
  CHOIR_ASSIGN_OR_RETURN(UniqueFence fence, CreateFence());
  CHOIR_ASSIGN_OR_RETURN(const VkCommandBuffer commands, AllocateCommandBuffer());
  const auto submit = [&]() -> absl::Status {
    VkCommandBufferBeginInfo begin{};
    begin.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO;
    begin.flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT;
    CHOIR_VK_RETURN_IF_ERROR(vkBeginCommandBuffer(commands, &begin), "vkBeginCommandBuffer");
    record(commands);
    CHOIR_VK_RETURN_IF_ERROR(vkEndCommandBuffer(commands), "vkEndCommandBuffer");
    return Submit(commands, fence.get());
  };
  if (const absl::Status status = submit(); !status.ok()) {
    FreeCommandBuffer(commands);
    return status;
  }
  return Running(*this, commands, std::move(fence));
}

absl::Status Device::RunOnce(absl::FunctionRef<void(VkCommandBuffer)> record) {
  CHOIR_ASSIGN_OR_RETURN(Running running, Start(record));
  return running.Wait();
}

}  // namespace choir::engine::vulkan
