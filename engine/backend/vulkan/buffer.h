#ifndef CHOIR_ENGINE_BACKEND_VULKAN_BUFFER_H_
#define CHOIR_ENGINE_BACKEND_VULKAN_BUFFER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include <vulkan/vulkan.h>

#include "engine/backend/backend.h"
#include "engine/backend/vulkan/device.h"
#include "engine/backend/vulkan/handle.h"

namespace choir::engine::vulkan {

enum class MemoryUsage : uint8_t {
  kDevice,  // device-local; mapped too where the CPU and the GPU share one memory
  kHost,    // host-visible, coherent, mapped: staging and readback
};

// Memory on the device. A read-only buffer beyond the largest allocation lies in several pieces
// that overlap by kPieceOverlapBytes, so that every row of a weight lies whole in one of them.
class VulkanBuffer final : public DeviceBuffer {
 public:
  static constexpr uint64_t kPieceOverlapBytes = 1u << 20;
  // A shader may read whole words, and four elements at a time, past the last one.
  static constexpr uint64_t kSlackBytes = 64;

  struct Place {
    size_t piece = 0;
    uint64_t offset = 0;  // in the piece
  };

  // Zero-filled. RESOURCE_EXHAUSTED says what was asked and what is free, or, without
  // `may_split`, that `max_piece_bytes` is the limit. The device is shared, because buffers may
  // outlive the backend that made them.
  static absl::StatusOr<std::shared_ptr<VulkanBuffer>> Create(std::shared_ptr<Device> device,
                                                              uint64_t size_bytes,
                                                              MemoryUsage usage, bool may_split,
                                                              uint64_t max_piece_bytes);

  // The same pieces without any memory: to record with on trial, never to run.
  static std::shared_ptr<VulkanBuffer> Planned(std::shared_ptr<Device> device, uint64_t size_bytes,
                                               uint64_t max_piece_bytes);

  [[nodiscard]] uint64_t size_bytes() const override { return size_bytes_; }
  [[nodiscard]] const Device* device() const { return device_.get(); }
  [[nodiscard]] VkBuffer handle(size_t piece) const { return pieces_[piece].buffer.get(); }
  [[nodiscard]] uint64_t piece_bytes(size_t piece) const { return pieces_[piece].size; }
  // Null if the host cannot see the memory. One piece only.
  [[nodiscard]] uint8_t* mapped() const { return pieces_.front().mapped; }

  // The piece in which [offset, offset + size) lies whole; nothing if there is none.
  [[nodiscard]] std::optional<Place> Find(uint64_t offset, uint64_t size) const;

  // INVALID_ARGUMENT if the range lies outside.
  absl::Status Write(uint64_t offset, std::span<const uint8_t> bytes);
  absl::Status Read(uint64_t offset, std::span<uint8_t> bytes) const;

 private:
  struct Piece {
    uint64_t begin = 0;
    uint64_t size = 0;
    std::optional<Device::Allocation> allocation;  // none where it is only planned
    UniqueMemory memory;
    UniqueBuffer buffer;  // after the memory: destroyed before it
    uint8_t* mapped = nullptr;
  };

  VulkanBuffer(std::shared_ptr<Device> device, uint64_t size_bytes, uint64_t max_piece_bytes);
  absl::Status Allocate(Piece& piece, MemoryUsage usage);
  absl::Status ZeroFill(const Piece& piece);
  absl::Status CheckRange(uint64_t offset, uint64_t size) const;
  absl::Status WritePiece(const Piece& piece, uint64_t offset, std::span<const uint8_t> bytes);
  absl::Status ReadPiece(const Piece& piece, uint64_t offset, std::span<uint8_t> bytes) const;

  std::shared_ptr<Device> device_;
  uint64_t size_bytes_;
  std::vector<Piece> pieces_;
};

}  // namespace choir::engine::vulkan

#endif  // CHOIR_ENGINE_BACKEND_VULKAN_BUFFER_H_
