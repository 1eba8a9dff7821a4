#include "engine/backend/vulkan/instance.h"

#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "engine/backend/vulkan/result.h"

#if defined(__SANITIZE_ADDRESS__)  // GCC
#define CHOIR_HAS_LSAN
#elif defined(__has_feature)  // clang
#if __has_feature(address_sanitizer)
#define CHOIR_HAS_LSAN
#endif
#endif
#ifdef CHOIR_HAS_LSAN
#include <sanitizer/lsan_interface.h>
#endif

namespace choir::engine::vulkan {
namespace {

// Drivers are unloaded with the instance and leave their once-made tables behind (Mesa: 128 bytes).
// What they allocate in this scope is not ours to report.
class IgnoreLeaks {
 public:
#ifdef CHOIR_HAS_LSAN
  IgnoreLeaks() {
    __lsan_disable();
  }
  ~IgnoreLeaks() {
    __lsan_enable();
  }
#else
  IgnoreLeaks() = default;
  ~IgnoreLeaks() {}  // so that the variable counts as used
#endif
  IgnoreLeaks(const IgnoreLeaks&) = delete;
  IgnoreLeaks& operator=(const IgnoreLeaks&) = delete;
};

constexpr char kValidationLayer[] = "VK_LAYER_KHRONOS_validation";

VKAPI_ATTR VkBool32 VKAPI_CALL OnMessage(VkDebugUtilsMessageSeverityFlagBitsEXT /*severity*/,
                                         VkDebugUtilsMessageTypeFlagsEXT /*types*/,
                                         const VkDebugUtilsMessengerCallbackDataEXT* data,
                                         void* user) {
  static_cast<ValidationLog*>(user)->Add(data->pMessage);
  return VK_FALSE;
}

// Only what the layers say about our calls: the loader's own remarks (an absent driver file, for
// example) are no fault of the program.
VkDebugUtilsMessengerCreateInfoEXT MessengerInfo(ValidationLog* log) {
  VkDebugUtilsMessengerCreateInfoEXT info{};
  info.sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT;
  info.messageSeverity = VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT |
                         VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT;
  info.messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT;
  info.pfnUserCallback = &OnMessage;
  info.pUserData = log;
  return info;
}

bool HasLayer(const char* name) {
  uint32_t count = 0;
  if (vkEnumerateInstanceLayerProperties(&count, nullptr) != VK_SUCCESS) return false;
  std::vector<VkLayerProperties> layers(count);
  if (vkEnumerateInstanceLayerProperties(&count, layers.data()) != VK_SUCCESS) return false;
  for (const VkLayerProperties& layer : layers) {
    if (std::strcmp(layer.layerName, name) == 0) return true;
  }
  return false;
}

}  // namespace

absl::StatusOr<Instance> Instance::Create(std::shared_ptr<ValidationLog> log) {
  uint32_t loader_version = VK_API_VERSION_1_0;
  if (vkEnumerateInstanceVersion(&loader_version) != VK_SUCCESS ||
      loader_version < VK_API_VERSION_1_1) {
    return absl::UnavailableError(
        "the Vulkan loader is older than 1.1: update it (Debian: libvulkan1)");
  }
  if (log != nullptr && !HasLayer(kValidationLayer)) {
    return absl::UnavailableError(
        "Vulkan validation was asked for, but the layers are not installed (Debian: "
        "vulkan-validationlayers)");
  }

  VkApplicationInfo application{};
  application.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO;
  application.pApplicationName = "choir";
  application.apiVersion = VK_API_VERSION_1_1;
  VkInstanceCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO;
  info.pApplicationInfo = &application;
  const char* const layers[] = {kValidationLayer};
  const char* const extensions[] = {VK_EXT_DEBUG_UTILS_EXTENSION_NAME};
  VkDebugUtilsMessengerCreateInfoEXT messenger = MessengerInfo(log.get());
  if (log != nullptr) {
    info.enabledLayerCount = 1;
    info.ppEnabledLayerNames = layers;
    info.enabledExtensionCount = 1;
    info.ppEnabledExtensionNames = extensions;
    info.pNext = &messenger;
  }
  VkInstance handle = VK_NULL_HANDLE;
  const IgnoreLeaks driver;
  const VkResult result = vkCreateInstance(&info, nullptr, &handle);
  if (result != VK_SUCCESS) {
    return absl::UnavailableError(fmt::format(
        "no Vulkan driver can be used (vkCreateInstance: VkResult {}): install your GPU's driver, "
        "or Mesa's (Debian: mesa-vulkan-drivers), or use the CPU backend",
        static_cast<int>(result)));
  }
  Instance instance;
  instance.log_ = std::move(log);
  instance.instance_ = UniqueInstance(handle);
  if (instance.log_ != nullptr) CHOIR_RETURN_IF_ERROR(instance.CreateMessenger());
  return instance;
}

absl::Status Instance::CreateMessenger() {
  const auto create = reinterpret_cast<PFN_vkCreateDebugUtilsMessengerEXT>(
      vkGetInstanceProcAddr(instance_.get(), "vkCreateDebugUtilsMessengerEXT"));
  if (create == nullptr) return absl::InternalError("VK_EXT_debug_utils has no entry point");
  const VkDebugUtilsMessengerCreateInfoEXT info = MessengerInfo(log_.get());
  return ToStatus(create(instance_.get(), &info, nullptr, &messenger_),
                  "vkCreateDebugUtilsMessengerEXT");
}

Instance::Instance(Instance&& other) noexcept
    : log_(std::move(other.log_)),
      instance_(std::move(other.instance_)),
      messenger_(std::exchange(other.messenger_, VK_NULL_HANDLE)) {}

Instance::~Instance() {
  if (messenger_ == VK_NULL_HANDLE) return;
  const auto destroy = reinterpret_cast<PFN_vkDestroyDebugUtilsMessengerEXT>(
      vkGetInstanceProcAddr(instance_.get(), "vkDestroyDebugUtilsMessengerEXT"));
  if (destroy != nullptr) destroy(instance_.get(), messenger_, nullptr);
}

absl::StatusOr<std::vector<VkPhysicalDevice>> Instance::PhysicalDevices() const {
  const IgnoreLeaks driver;
  uint32_t count = 0;
  CHOIR_VK_RETURN_IF_ERROR(vkEnumeratePhysicalDevices(instance_.get(), &count, nullptr),
                           "vkEnumeratePhysicalDevices");
  std::vector<VkPhysicalDevice> all(count);
  if (count > 0) {
    CHOIR_VK_RETURN_IF_ERROR(vkEnumeratePhysicalDevices(instance_.get(), &count, all.data()),
                             "vkEnumeratePhysicalDevices");
  }
  std::vector<VkPhysicalDevice> usable;
  for (const VkPhysicalDevice device : all) {
    VkPhysicalDeviceProperties properties{};
    vkGetPhysicalDeviceProperties(device, &properties);
    if (properties.apiVersion >= VK_API_VERSION_1_1) usable.push_back(device);
  }
  return usable;
}

}  // namespace choir::engine::vulkan
