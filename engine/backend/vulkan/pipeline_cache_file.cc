#include "engine/backend/vulkan/pipeline_cache_file.h"

#include <cstring>

#include <fmt/format.h>

#include "base/file.h"
#include "base/hex.h"
#include "base/sha256.h"
#include "base/status_macros.h"

namespace choir::engine::vulkan {
namespace {

// File: magic, SHA-256 of the rest, driver version (4 bytes, the machine's order: the file never
// leaves it), the driver's bytes.
constexpr std::string_view kMagic = "choirvk1";
constexpr size_t kDigestBytes = sizeof(Digest);
constexpr size_t kHeaderBytes = kMagic.size() + kDigestBytes + sizeof(uint32_t);
// Larger than any cache of our few dozen pipelines.
constexpr uint64_t kMaxFileBytes = 64u << 20;

bool IsForDevice(std::string_view driver_bytes, const DeviceCaps& caps) {
  VkPipelineCacheHeaderVersionOne header{};
  if (driver_bytes.size() < sizeof(header)) return false;
  std::memcpy(&header, driver_bytes.data(), sizeof(header));
  return header.headerSize >= sizeof(header) && header.headerSize <= driver_bytes.size() &&
         header.headerVersion == VK_PIPELINE_CACHE_HEADER_VERSION_ONE &&
         header.vendorID == caps.vendor_id && header.deviceID == caps.device_id &&
         std::memcmp(header.pipelineCacheUUID, caps.cache_uuid.data(), VK_UUID_SIZE) == 0;
}

}  // namespace

std::string PipelineCachePath(const std::string& dir, const DeviceCaps& caps) {
  return fmt::format("{}/vulkan-{:x}-{:x}-{:x}-{}.cache", dir, caps.vendor_id, caps.device_id,
                     caps.driver_version, HexEncode(caps.cache_uuid));
}

std::string LoadPipelineCache(const std::string& dir, const DeviceCaps& caps) {
  const auto file = ReadFile(PipelineCachePath(dir, caps), kMaxFileBytes);
  if (!file.ok() || file->size() < kHeaderBytes) return {};
  const std::string_view bytes = *file;
  if (bytes.substr(0, kMagic.size()) != kMagic) return {};
  const std::string_view body = bytes.substr(kMagic.size() + kDigestBytes);
  const Digest digest = Sha256Of(body);
  if (std::memcmp(digest.data(), bytes.data() + kMagic.size(), kDigestBytes) != 0) return {};
  uint32_t driver_version = 0;
  std::memcpy(&driver_version, body.data(), sizeof(driver_version));
  const std::string_view driver_bytes = bytes.substr(kHeaderBytes);
  if (driver_version != caps.driver_version || !IsForDevice(driver_bytes, caps)) return {};
  return std::string(driver_bytes);
}

absl::Status SavePipelineCache(const std::string& dir, const DeviceCaps& caps,
                               std::string_view driver_bytes) {
  CHOIR_RETURN_IF_ERROR(MakeDirectories(dir));
  std::string body(reinterpret_cast<const char*>(&caps.driver_version),
                   sizeof(caps.driver_version));
  body += driver_bytes;
  const Digest digest = Sha256Of(std::string_view(body));
  std::string file(kMagic);
  file.append(reinterpret_cast<const char*>(digest.data()), digest.size());
  file += body;
  return AtomicWriteFile(PipelineCachePath(dir, caps), file);
}

}  // namespace choir::engine::vulkan
