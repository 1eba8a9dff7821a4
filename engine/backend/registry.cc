#include "engine/backend/registry.h"

#include <fmt/format.h>

#include "engine/backend/cpu/cpu_backend.h"
#ifdef CHOIR_HAS_VULKAN
#include "engine/backend/vulkan/vulkan_backend.h"
#endif

namespace choir::engine {
namespace {

#ifdef CHOIR_HAS_VULKAN
std::vector<DeviceInfo> ListVulkan(const std::string& pipeline_cache_dir) {
  return ListVulkanDevices(pipeline_cache_dir);
}

absl::StatusOr<std::unique_ptr<Backend>> CreateVulkan(const BackendOptions& options) {
  return CreateVulkanBackend({.device_index = options.device_index,
                              .validation = options.validation,
                              .pipeline_cache_dir = options.pipeline_cache_dir,
                              .profile = options.profile});
}
#else
std::vector<DeviceInfo> ListVulkan(const std::string& /*pipeline_cache_dir*/) {
  return {};
}

absl::StatusOr<std::unique_ptr<Backend>> CreateVulkan(const BackendOptions& /*options*/) {
  return absl::UnimplementedError(
      "this build has no Vulkan backend; build with CHOIR_VULKAN=ON, or use the backend cpu");
}
#endif

bool HasRealGpu() {
  for (const DeviceInfo& device : ListVulkan("")) {
    if (!device.is_software) return true;
  }
  return false;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Backend>> CreateBackend(std::string_view name,
                                                       const BackendOptions& options) {
  if (name == "cpu") return CreateCpuBackend(options.num_threads);
  if (name == "vulkan") return CreateVulkan(options);
  if (name == "auto") {
    // A GPU that cannot be opened (no memory, a driver's fault) must not stop the work.
    if (HasRealGpu()) {
      auto gpu = CreateVulkan(options);
      if (gpu.ok()) return gpu;
    }
    return CreateCpuBackend(options.num_threads);
  }
  return absl::NotFoundError(
      fmt::format("there is no backend {}; the backends are cpu, vulkan and auto", name));
}

std::vector<DeviceInfo> ListDevices(const std::string& pipeline_cache_dir) {
  std::vector<DeviceInfo> devices = {DescribeCpu()};
  for (DeviceInfo& device : ListVulkan(pipeline_cache_dir)) devices.push_back(std::move(device));
  return devices;
}

}  // namespace choir::engine
