#ifndef CHOIR_ENGINE_BACKEND_REGISTRY_H_
#define CHOIR_ENGINE_BACKEND_REGISTRY_H_

// The one place that knows which backends were built in.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

#include "engine/backend/backend.h"

namespace choir::engine {

struct BackendOptions {
  int num_threads = 0;      // CPU; 0: as many as the machine has cores
  int device_index = -1;    // Vulkan; -1: the best by type and memory
  bool validation = false;  // Vulkan validation layers; a message from them is an error
  bool profile = false;     // Vulkan: measure each node, as the CPU always does
  // Vulkan: for compiled pipelines, and which ways of computing the device gets right; empty: none.
  std::string pipeline_cache_dir;
};

// `name`: "cpu", "vulkan", or "auto" (a real GPU if there is one, else the CPU; a software GPU only
// when "vulkan" is asked for by name). NOT_FOUND or UNAVAILABLE says what is missing and what to
// do.
absl::StatusOr<std::unique_ptr<Backend>> CreateBackend(std::string_view name,
                                                       const BackendOptions& options);

// Every device that CreateBackend could open, CPU first; never fails: what cannot be asked is
// absent.
// `pipeline_cache_dir` as in BackendOptions: what earlier processes found out about the devices.
std::vector<DeviceInfo> ListDevices(const std::string& pipeline_cache_dir = "");

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_BACKEND_REGISTRY_H_
