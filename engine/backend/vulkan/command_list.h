#ifndef CHOIR_ENGINE_BACKEND_VULKAN_COMMAND_LIST_H_
#define CHOIR_ENGINE_BACKEND_VULKAN_COMMAND_LIST_H_

// What an executable will do, as plain values: dispatches and copies over ranges of buffers. Built
// once by the kernels, then recorded into command buffers as often as the pacing changes.

#include <array>
#include <cstdint>
#include <memory>
#include <variant>
#include <vector>

#include "engine/backend/vulkan/buffer.h"
#include "engine/backend/vulkan/pipeline_store.h"

namespace choir::engine::vulkan {

// Bytes of one piece of one buffer of the executable. `buffer` is an index into BufferTable.
struct Range {
  uint32_t buffer = 0;
  uint32_t piece = 0;
  uint64_t offset = 0;
  uint64_t bytes = 0;
};

struct Access {
  Range range;
  bool reads = false;
  bool writes = false;
  // The shader may load, and then throw away, up to VulkanBuffer::kSlackBytes past the end.
  bool reads_past_end = false;
  BindingKind kind = BindingKind::kStorage;
};

// Bytes between the access's offset and the last place before it where a binding may begin.
inline uint64_t BindingRest(const Access& access, const DeviceCaps& caps) {
  const bool storage = access.kind == BindingKind::kStorage;
  return access.range.offset % (storage ? caps.storage_alignment : caps.texel_alignment);
}

struct Dispatch {
  const Pipeline* pipeline = nullptr;
  std::vector<Access> bindings;
  std::array<uint8_t, kPushBytes> push{};
  uint32_t push_bytes = 0;
  std::array<uint32_t, 3> groups{1, 1, 1};
  double work = 0;  // estimated floating-point operations
};

struct Copy {
  Access from;
  Access to;
};

using Command = std::variant<Dispatch, Copy>;

// The buffers that ranges name. The first three are made when the whole list is known.
class BufferTable {
 public:
  static constexpr uint32_t kArena = 0;
  static constexpr uint32_t kWorkspace = 1;
  static constexpr uint32_t kHostSide = 2;  // inputs and outputs as the host sees them

  BufferTable() : buffers_(3) {}
  // The same buffer has the same index always.
  uint32_t Add(const std::shared_ptr<VulkanBuffer>& buffer) {
    for (uint32_t i = 3; i < buffers_.size(); ++i) {
      if (buffers_[i] == buffer) return i;
    }
    buffers_.push_back(buffer);
    return static_cast<uint32_t>(buffers_.size() - 1);
  }
  void Set(uint32_t index, std::shared_ptr<VulkanBuffer> buffer) {
    buffers_[index] = std::move(buffer);
  }
  [[nodiscard]] const std::shared_ptr<VulkanBuffer>& at(uint32_t index) const {
    return buffers_[index];
  }

 private:
  std::vector<std::shared_ptr<VulkanBuffer>> buffers_;  // shared with whoever bound them
};

}  // namespace choir::engine::vulkan

#endif  // CHOIR_ENGINE_BACKEND_VULKAN_COMMAND_LIST_H_
