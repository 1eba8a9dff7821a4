#ifndef CHOIR_ENGINE_BACKEND_VULKAN_PIPELINE_CACHE_FILE_H_
#define CHOIR_ENGINE_BACKEND_VULKAN_PIPELINE_CACHE_FILE_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"

#include "engine/backend/vulkan/device_caps.h"

namespace choir::engine::vulkan {

// Compiled pipelines on disk, one file for a device and driver version in `dir`. Drivers have
// crashed on foreign or damaged cache data, so our own header (magic, SHA-256) and Vulkan's
// (vendor, device, UUID) are checked before a driver sees a byte.

// The driver's bytes; empty if there is no file or it is not this device's, whole.
std::string LoadPipelineCache(const std::string& dir, const DeviceCaps& caps);

// Replaces the file, all or nothing; makes the folder.
absl::Status SavePipelineCache(const std::string& dir, const DeviceCaps& caps,
                               std::string_view driver_bytes);

// Path of the file, for tests and for people.
std::string PipelineCachePath(const std::string& dir, const DeviceCaps& caps);

}  // namespace choir::engine::vulkan

#endif  // CHOIR_ENGINE_BACKEND_VULKAN_PIPELINE_CACHE_FILE_H_
