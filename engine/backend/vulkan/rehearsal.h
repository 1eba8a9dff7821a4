#ifndef CHOIR_ENGINE_BACKEND_VULKAN_REHEARSAL_H_
#define CHOIR_ENGINE_BACKEND_VULKAN_REHEARSAL_H_

#include <memory>
#include <span>

#include "absl/status/status.h"

#include "engine/backend/vulkan/command_list.h"
#include "engine/backend/vulkan/device.h"

namespace choir::engine::vulkan {

// Runs each pipeline of these commands once over no workgroups. A software driver compiles a shader
// when it first runs, to memory of this process: tens of MiB for a training step, which a plan of
// memory must count.
absl::Status RunOverNothing(const std::shared_ptr<Device>& device,
                            std::span<const Command> commands);

}  // namespace choir::engine::vulkan

#endif  // CHOIR_ENGINE_BACKEND_VULKAN_REHEARSAL_H_
