#include "engine/backend/vulkan/rehearsal.h"

#include <limits>
#include <set>
#include <utility>
#include <variant>
#include <vector>

#include "base/status_macros.h"
#include "engine/backend/vulkan/pacer.h"
#include "engine/backend/vulkan/program.h"

namespace choir::engine::vulkan {
namespace {

// What every binding sees: never read or written.
constexpr uint64_t kStandInBytes = 256;

}  // namespace

absl::Status RunOverNothing(const std::shared_ptr<Device>& device,
                            std::span<const Command> commands) {
  std::set<const Pipeline*> seen;
  std::vector<Command> trial;
  for (const Command& command : commands) {
    const auto* dispatch = std::get_if<Dispatch>(&command);
    if (dispatch == nullptr || !seen.insert(dispatch->pipeline).second) continue;
    Dispatch nothing = *dispatch;
    nothing.groups = {0, 0, 0};
    nothing.work = 0;
    for (Access& access : nothing.bindings) {
      access.range = {BufferTable::kWorkspace, 0, 0, kStandInBytes};
    }
    trial.emplace_back(std::move(nothing));
  }
  if (trial.empty()) return absl::OkStatus();
  CHOIR_ASSIGN_OR_RETURN(std::shared_ptr<VulkanBuffer> stand_in,
                         VulkanBuffer::Create(device, kStandInBytes, MemoryUsage::kDevice, false,
                                              device->caps().max_allocation_bytes));
  BufferTable buffers;
  buffers.Set(BufferTable::kWorkspace, std::move(stand_in));
  CHOIR_ASSIGN_OR_RETURN(const std::unique_ptr<Program> program,
                         Program::Create(*device, buffers, std::move(trial), {}));
  Pacer pacer(device->caps().type, std::numeric_limits<double>::max());
  return program->Run(pacer);
}

}  // namespace choir::engine::vulkan
