#ifndef CHOIR_ENGINE_BACKEND_VULKAN_VULKAN_BACKEND_H_
#define CHOIR_ENGINE_BACKEND_VULKAN_VULKAN_BACKEND_H_

// Graphs on any GPU with Vulkan 1.1. Nothing outside this folder names a Vulkan type.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "engine/backend/backend.h"
#include "engine/backend/vulkan/product_way.h"

namespace choir::engine {

namespace vulkan {
class ValidationLog;
}

struct VulkanOptions {
  int device_index = -1;  // as in ListVulkanDevices(); -1: the best by type and memory
  bool validation = false;
  std::string pipeline_cache_dir = {};  // empty: pipelines are compiled anew by each process
  // Largest part of a weight that one shader binding may cover; larger ones are split by rows. 0:
  // what the device can. Tests shrink it.
  uint64_t max_weight_binding_bytes = 0;
  // Largest allocation for frozen weights; more of them lie in several. 0: what the device can.
  uint64_t max_weight_allocation_bytes = 0;
  // Of the device that this process may use, as DeviceInfo tells the planner, which
  // recomputes or refuses. 0: what the driver says.
  uint64_t memory_bytes = 0;
  // Floating-point operations of one submission. 0: as many as the device does in a frame or two,
  // measured and adapted.
  double work_per_submission = 0;
  // Note when each node of a graph ends (Executable::LastRunTimes).
  bool profile = false;
  // False: everything passes through staging buffers, as on a GPU with memory of its own, even
  // where the CPU sees the device's memory. For tests.
  bool map_device_memory = true;
  // False: sums over a workgroup through shared memory alone, as where a device has no subgroup
  // operations. For tests.
  bool subgroups = true;
  // False: the shaders of GPUs even on a software device, which has its own. For tests.
  bool lanes_on_software = true;
  // How products with frozen weights are computed where Compute allows more than f32. Nothing: the
  // fastest way that the device gets right. kPlain: in f32, the device's features unused. Another:
  // that one, if the device gets it right, however slow and small the product; for tests.
  std::optional<ProductWay> way = std::nullopt;
};

// UNAVAILABLE if there is no Vulkan driver or device, or validation is asked for without its
// layers; says what to install. NOT_FOUND: no device of this index. With validation on, whatever
// the layers say becomes an INTERNAL error of the next call.
absl::StatusOr<std::unique_ptr<Backend>> CreateVulkanBackend(const VulkanOptions& options);

// The same with validation into the caller's log, which then also has what the layers say while the
// backend goes away: leaks.
absl::StatusOr<std::unique_ptr<Backend>> CreateVulkanBackend(
    const VulkanOptions& options, std::shared_ptr<vulkan::ValidationLog> log);

// Every device that could be opened, in the driver's order; empty without a driver. The ways are
// those that processes with this folder for their pipelines found out; none if it is empty.
std::vector<DeviceInfo> ListVulkanDevices(const std::string& pipeline_cache_dir = "");

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_BACKEND_VULKAN_VULKAN_BACKEND_H_
