#ifndef CHOIR_BASE_ATOMIC_FILE_H_
#define CHOIR_BASE_ATOMIC_FILE_H_

#include <sys/types.h>

#include <cstdint>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace choir {

// A file that is written in pieces and appears whole: AtomicWriteFile for what does not fit in
// memory. Bytes go to a temporary beside `path`; Commit makes them durable and renames it into
// place. Destroyed without Commit, it leaves `path` as it was and no temporary. Not thread-safe.
class AtomicFile {
 public:
  static absl::StatusOr<AtomicFile> Create(const std::string& path, mode_t mode = 0644);

  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;
  ~AtomicFile();

  absl::Status Append(std::span<const uint8_t> bytes);
  // Once; nothing may be appended afterwards.
  absl::Status Commit();

 private:
  AtomicFile(std::string path, std::string temporary, int fd)
      : path_(std::move(path)), temporary_(std::move(temporary)), fd_(fd) {}
  std::string path_;
  std::string temporary_;
  int fd_;  // -1 once committed, failed or moved from
};

}  // namespace choir

#endif  // CHOIR_BASE_ATOMIC_FILE_H_
