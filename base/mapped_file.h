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

// For bytes of a MappedFile that is alive, of a program that must do with less memory than the file
// takes. Both are advice: contents never change, and a system that does not take it keeps the
// pages. Whole pages only: those that other bytes share stay.
//
// They will be read soon: begins to fetch them from the disk.
void PrefetchMapped(std::span<const uint8_t> bytes);
// They are not needed for a while: this process's memory need not hold them.
void ReleaseMapped(std::span<const uint8_t> bytes);

}  // namespace choir

#endif  // CHOIR_BASE_MAPPED_FILE_H_
