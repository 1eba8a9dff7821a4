#include "engine/backend/vulkan/buffer.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "engine/backend/vulkan/result.h"

namespace choir::engine::vulkan {
namespace {

// Uploads go through a staging buffer of at most this size: large enough to fill a bus, small
// enough for a phone.
constexpr uint64_t kStagingBytes = 8u << 20;

std::optional<uint32_t> FindMemoryType(const DeviceCaps& caps, uint32_t allowed,
                                       VkMemoryPropertyFlags wanted) {
  for (uint32_t i = 0; i < caps.memory.memoryTypeCount; ++i) {
    if ((allowed & (1u << i)) == 0) continue;
    if ((caps.memory.memoryTypes[i].propertyFlags & wanted) == wanted) return i;
  }
  return std::nullopt;
}

// The best of the allowed memory types: first wish that can be had.
std::optional<uint32_t> ChooseMemoryType(const DeviceCaps& caps, uint32_t allowed,
                                         MemoryUsage usage) {
  constexpr VkMemoryPropertyFlags kVisible =
      VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
  constexpr VkMemoryPropertyFlags kLocal = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT;
  constexpr VkMemoryPropertyFlags kCached = VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
  std::vector<VkMemoryPropertyFlags> wishes;
  if (usage == MemoryUsage::kHost) {
    wishes = {kVisible | kCached, kVisible};
  } else if (caps.unified_memory) {
    wishes = {kLocal | kVisible | kCached, kLocal | kVisible, kLocal, 0};
  } else {
    wishes = {kLocal, 0};
  }
  for (const VkMemoryPropertyFlags wish : wishes) {
    if (const auto type = FindMemoryType(caps, allowed, wish)) return type;
  }
  return std::nullopt;
}

void CopyOnDevice(VkCommandBuffer commands, VkBuffer from, uint64_t from_offset, VkBuffer to,
                  uint64_t to_offset, uint64_t size) {
  const VkBufferCopy region{from_offset, to_offset, size};
  vkCmdCopyBuffer(commands, from, to, 1, &region);
}

// Between commands of one RunOnce and whatever ran before it or the host reads after it.
void FullBarrier(VkCommandBuffer commands) {
  VkMemoryBarrier barrier{};
  barrier.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER;
  barrier.srcAccessMask = VK_ACCESS_MEMORY_WRITE_BIT;
  barrier.dstAccessMask = VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT;
  vkCmdPipelineBarrier(commands, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT,
                       VK_PIPELINE_STAGE_ALL_COMMANDS_BIT | VK_PIPELINE_STAGE_HOST_BIT, 0, 1,
                       &barrier, 0, nullptr, 0, nullptr);
}

}  // namespace

absl::StatusOr<std::shared_ptr<VulkanBuffer>> VulkanBuffer::Create(std::shared_ptr<Device> device,
                                                                   uint64_t size_bytes,
                                                                   MemoryUsage usage,
                                                                   bool may_split,
                                                                   uint64_t max_piece_bytes) {
  if (size_bytes > max_piece_bytes && !may_split) {
    return absl::ResourceExhaustedError(
        fmt::format("{} bytes asked in one piece, {} gives at most {}", size_bytes,
                    device->caps().name, max_piece_bytes));
  }
  std::shared_ptr<VulkanBuffer> buffer(
      new VulkanBuffer(std::move(device), size_bytes, max_piece_bytes));
  for (Piece& piece : buffer->pieces_) CHOIR_RETURN_IF_ERROR(buffer->Allocate(piece, usage));
  return buffer;
}

std::shared_ptr<VulkanBuffer> VulkanBuffer::Planned(std::shared_ptr<Device> device,
                                                    uint64_t size_bytes, uint64_t max_piece_bytes) {
  // The constructor is private; std::make_shared cannot reach it.
  return std::shared_ptr<VulkanBuffer>(
      new VulkanBuffer(std::move(device), size_bytes, max_piece_bytes));
}

VulkanBuffer::VulkanBuffer(std::shared_ptr<Device> device, uint64_t size_bytes,
                           uint64_t max_piece_bytes)
    : device_(std::move(device)), size_bytes_(size_bytes) {
  uint64_t begin = 0;
  do {
    Piece& piece = pieces_.emplace_back();
    const uint64_t size = std::min(size_bytes - begin, max_piece_bytes);
    piece.begin = begin;
    piece.size = (size + kSlackBytes + 15) / 16 * 16;
    begin += size;
    // Step back by the overlap (a multiple of every alignment), unless this was the last piece.
    if (begin < size_bytes) begin -= std::min(kPieceOverlapBytes, max_piece_bytes / 2);
  } while (begin < size_bytes);
}

absl::Status VulkanBuffer::Allocate(Piece& piece, MemoryUsage usage) {
  VkBufferCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO;
  info.size = piece.size;
  info.usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT |
               VK_BUFFER_USAGE_TRANSFER_DST_BIT;
  if (device_->caps().lanes) info.usage |= VK_BUFFER_USAGE_UNIFORM_TEXEL_BUFFER_BIT;
  info.sharingMode = VK_SHARING_MODE_EXCLUSIVE;
  VkBuffer buffer = VK_NULL_HANDLE;
  CHOIR_VK_RETURN_IF_ERROR(vkCreateBuffer(device_->get(), &info, nullptr, &buffer),
                           "vkCreateBuffer");
  piece.buffer = UniqueBuffer(device_->get(), buffer);
  VkMemoryRequirements needs{};
  vkGetBufferMemoryRequirements(device_->get(), buffer, &needs);
  const auto type = ChooseMemoryType(device_->caps(), needs.memoryTypeBits, usage);
  if (!type.has_value()) return absl::InternalError("no memory type fits a storage buffer");

  VkMemoryAllocateInfo allocate{};
  allocate.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO;
  allocate.allocationSize = needs.size;
  allocate.memoryTypeIndex = *type;
  VkDeviceMemory memory = VK_NULL_HANDLE;
  const VkResult result = vkAllocateMemory(device_->get(), &allocate, nullptr, &memory);
  if (result == VK_ERROR_OUT_OF_DEVICE_MEMORY || result == VK_ERROR_OUT_OF_HOST_MEMORY) {
    return absl::ResourceExhaustedError(
        fmt::format("{} bytes asked, about {} free on {}", size_bytes_,
                    UsableMemoryBytes(device_->physical(), device_->caps()), device_->caps().name));
  }
  CHOIR_VK_RETURN_IF_ERROR(result, "vkAllocateMemory");
  piece.memory = UniqueMemory(device_->get(), memory);
  piece.allocation.emplace(*device_, needs.size);
  CHOIR_VK_RETURN_IF_ERROR(vkBindBufferMemory(device_->get(), buffer, memory, 0),
                           "vkBindBufferMemory");
  const VkMemoryPropertyFlags flags = device_->caps().memory.memoryTypes[*type].propertyFlags;
  if ((flags & VK_MEMORY_PROPERTY_HOST_COHERENT_BIT) != 0 &&
      (usage == MemoryUsage::kHost || device_->caps().unified_memory)) {
    void* mapped = nullptr;
    CHOIR_VK_RETURN_IF_ERROR(vkMapMemory(device_->get(), memory, 0, VK_WHOLE_SIZE, 0, &mapped),
                             "vkMapMemory");
    piece.mapped = static_cast<uint8_t*>(mapped);
  }
  return ZeroFill(piece);
}

absl::Status VulkanBuffer::ZeroFill(const Piece& piece) {
  if (piece.mapped != nullptr) {
    std::memset(piece.mapped, 0, piece.size);
    return absl::OkStatus();
  }
  return device_->RunOnce([&](VkCommandBuffer commands) {
    vkCmdFillBuffer(commands, piece.buffer.get(), 0, VK_WHOLE_SIZE, 0);
    FullBarrier(commands);
  });
}

std::optional<VulkanBuffer::Place> VulkanBuffer::Find(uint64_t offset, uint64_t size) const {
  if (offset > size_bytes_ || size > size_bytes_ - offset) return std::nullopt;
  for (size_t i = 0; i < pieces_.size(); ++i) {
    const Piece& piece = pieces_[i];
    const uint64_t end = piece.begin + piece.size - kSlackBytes;
    if (offset >= piece.begin && offset + size <= end) return Place{i, offset - piece.begin};
  }
  return std::nullopt;
}

absl::Status VulkanBuffer::CheckRange(uint64_t offset, uint64_t size) const {
  if (offset > size_bytes_ || size > size_bytes_ - offset) {
    return absl::InvalidArgumentError(fmt::format(
        "bytes [{}, +{}) lie outside the device buffer of {} bytes", offset, size, size_bytes_));
  }
  return absl::OkStatus();
}

absl::Status VulkanBuffer::Write(uint64_t offset, std::span<const uint8_t> bytes) {
  CHOIR_RETURN_IF_ERROR(CheckRange(offset, bytes.size()));
  for (const Piece& piece : pieces_) {
    const uint64_t begin = std::max(offset, piece.begin);
    const uint64_t end =
        std::min({offset + bytes.size(), piece.begin + piece.size - kSlackBytes, size_bytes_});
    if (begin >= end) continue;
    CHOIR_RETURN_IF_ERROR(
        WritePiece(piece, begin - piece.begin, bytes.subspan(begin - offset, end - begin)));
  }
  return device_->ValidationStatus();
}

absl::Status VulkanBuffer::WritePiece(const Piece& piece, uint64_t offset,
                                      std::span<const uint8_t> bytes) {
  if (piece.mapped != nullptr) {
    std::memcpy(piece.mapped + offset, bytes.data(), bytes.size());
    return absl::OkStatus();
  }
  CHOIR_ASSIGN_OR_RETURN(const std::shared_ptr<VulkanBuffer> staging,
                         Create(device_, std::min<uint64_t>(bytes.size(), kStagingBytes),
                                MemoryUsage::kHost, false, kStagingBytes));
  // Halves in turn: while the device copies the one, the host fills the other.
  std::array<std::optional<Device::Running>, 2> running;
  for (size_t turn = 0; !bytes.empty(); turn = 1 - turn) {
    const uint64_t half = turn * kStagingBytes / 2;
    const size_t size = std::min<size_t>(bytes.size(), kStagingBytes / 2);
    if (running[turn].has_value()) CHOIR_RETURN_IF_ERROR(running[turn]->Wait());
    std::memcpy(staging->mapped() + half, bytes.data(), size);
    CHOIR_ASSIGN_OR_RETURN(running[turn], device_->Start([&](VkCommandBuffer commands) {
      FullBarrier(commands);
      CopyOnDevice(commands, staging->handle(0), half, piece.buffer.get(), offset, size);
      FullBarrier(commands);
    }));
    offset += size;
    bytes = bytes.subspan(size);
  }
  for (std::optional<Device::Running>& last : running) {
    if (last.has_value()) CHOIR_RETURN_IF_ERROR(last->Wait());
  }
  return absl::OkStatus();
}

absl::Status VulkanBuffer::Read(uint64_t offset, std::span<uint8_t> bytes) const {
  CHOIR_RETURN_IF_ERROR(CheckRange(offset, bytes.size()));
  for (const Piece& piece : pieces_) {
    if (bytes.empty()) break;
    const uint64_t end = std::min(piece.begin + piece.size - kSlackBytes, size_bytes_);
    if (offset < piece.begin || offset >= end) continue;
    const size_t size = std::min<uint64_t>(bytes.size(), end - offset);
    CHOIR_RETURN_IF_ERROR(ReadPiece(piece, offset - piece.begin, bytes.first(size)));
    offset += size;
    bytes = bytes.subspan(size);
  }
  return device_->ValidationStatus();
}

absl::Status VulkanBuffer::ReadPiece(const Piece& piece, uint64_t offset,
                                     std::span<uint8_t> bytes) const {
  if (piece.mapped != nullptr) {
    std::memcpy(bytes.data(), piece.mapped + offset, bytes.size());
    return absl::OkStatus();
  }
  CHOIR_ASSIGN_OR_RETURN(const std::shared_ptr<VulkanBuffer> staging,
                         Create(device_, std::min<uint64_t>(bytes.size(), kStagingBytes),
                                MemoryUsage::kHost, false, kStagingBytes));
  while (!bytes.empty()) {
    const size_t size = std::min<size_t>(bytes.size(), kStagingBytes);
    CHOIR_RETURN_IF_ERROR(device_->RunOnce([&](VkCommandBuffer commands) {
      FullBarrier(commands);
      CopyOnDevice(commands, piece.buffer.get(), offset, staging->handle(0), 0, size);
      FullBarrier(commands);
    }));
    std::memcpy(bytes.data(), staging->mapped(), size);
    offset += size;
    bytes = bytes.subspan(size);
  }
  return absl::OkStatus();
}

}  // namespace choir::engine::vulkan
