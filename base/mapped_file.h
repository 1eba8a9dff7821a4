#ifndef CHOIR_BASE_MAPPED_FILE_H_
#define CHOIR_BASE_MAPPED_FILE_H_

#include <cstdint>
#include <span>
#include <string>

#include "absl/status/statusor.h"

namespace choir {

// A file mapped read-only into memory; unmapped on destruction. Immutable, so thread-safe.
// If another program shortens the file while it is mapped, touching the lost pages raises SIGBUS.
class MappedFile {
 public:
  // An empty file maps to an empty span. INVALID_ARGUMENT for anything but a regular file.
  static absl::StatusOr<MappedFile> Open(const std::string& path);

  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  [[nodiscard]] std::span<const uint8_t> bytes() const { return bytes_; }

 private:
  explicit MappedFile(std::span<const uint8_t> bytes) : bytes_(bytes) {}
  void Unmap();
  std::span<const uint8_t> bytes_;
};

}  // namespace choir

#endif  // CHOIR_BASE_MAPPED_FILE_H_
