#ifndef CHOIR_BASE_FILE_H_
#define CHOIR_BASE_FILE_H_

#include <sys/types.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace choir {

// A status for the current errno: NOT_FOUND, PERMISSION_DENIED, RESOURCE_EXHAUSTED (no space), else
// UNAVAILABLE. The message is "`what`: <text of errno>".
absl::Status ErrnoStatus(std::string_view what);

// The whole file. RESOURCE_EXHAUSTED if it is larger than `max_bytes`, and nothing is read then.
absl::StatusOr<std::string> ReadFile(const std::string& path, uint64_t max_bytes);

// Replaces `path` with `bytes`, durably and all or nothing: temporary file, fsync, rename, fsync of
// the folder. A reader, or a restart after a crash, sees the old content or the new one.
absl::Status AtomicWriteFile(const std::string& path, std::string_view bytes, mode_t mode = 0644);

// The same, readable by the owner only: for keys, tokens and journals.
absl::Status AtomicWriteSecretFile(const std::string& path, std::string_view bytes);

// Makes the folder and its parents; fine if it exists.
absl::Status MakeDirectories(const std::string& path, mode_t mode = 0755);

// Flushes a folder's entries to the disk (after a rename or a creation inside it).
absl::Status SyncDirectory(const std::string& path);

inline std::string_view AsChars(std::span<const uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
inline std::span<const uint8_t> AsBytes(std::string_view chars) {
  return {reinterpret_cast<const uint8_t*>(chars.data()), chars.size()};
}

}  // namespace choir

#endif  // CHOIR_BASE_FILE_H_
