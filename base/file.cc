#include "base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include <fmt/format.h>

#include "base/status_macros.h"

namespace choir {
namespace {

// Closes a descriptor on the way out.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

absl::Status WriteAll(int fd, std::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      return ErrnoStatus(fmt::format("cannot write {}", path));
    }
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

absl::Status WriteSynced(const std::string& path, std::string_view bytes, mode_t mode) {
  ::unlink(path.c_str());
  const Descriptor fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
  if (fd.get() < 0) return ErrnoStatus(fmt::format("cannot create {}", path));
  CHOIR_RETURN_IF_ERROR(WriteAll(fd.get(), bytes, path));
  if (::fsync(fd.get()) != 0) return ErrnoStatus(fmt::format("cannot flush {}", path));
  return absl::OkStatus();
}

}  // namespace

absl::Status ErrnoStatus(std::string_view what) {
  const int code = errno;
  const std::string message = fmt::format("{}: {}", what, std::generic_category().message(code));
  switch (code) {
    case ENOENT:
      return absl::NotFoundError(message);
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(message);
    case ENOSPC:
    case EDQUOT:
    case ENOMEM:
    case EMFILE:
      return absl::ResourceExhaustedError(message);
    default:
      return absl::UnavailableError(message);
  }
}

absl::StatusOr<std::string> ReadFile(const std::string& path, uint64_t max_bytes) {
  const Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) return ErrnoStatus(fmt::format("cannot open {}", path));
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return ErrnoStatus(fmt::format("cannot stat {}", path));
  if (S_ISDIR(info.st_mode)) {
    return absl::InvalidArgumentError(fmt::format("{} is a folder, not a file", path));
  }
  if (static_cast<uint64_t>(info.st_size) > max_bytes) {
    return absl::ResourceExhaustedError(
        fmt::format("{} has {} bytes; at most {} are read", path, info.st_size, max_bytes));
  }
  std::string out;
  char buffer[1 << 16];
  for (;;) {
    const ssize_t n = ::read(fd.get(), buffer, sizeof(buffer));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(fmt::format("cannot read {}", path));
    if (n == 0) return out;
    out.append(buffer, static_cast<size_t>(n));
    if (out.size() > max_bytes) {
      return absl::ResourceExhaustedError(
          fmt::format("{} has more than {} bytes", path, max_bytes));
    }
  }
}

absl::Status AtomicWriteFile(const std::string& path, std::string_view bytes, mode_t mode) {
  // The process id keeps two writers from sharing a temporary file.
  const std::string temporary = fmt::format("{}.tmp.{}", path, ::getpid());
  if (absl::Status status = WriteSynced(temporary, bytes, mode); !status.ok()) {
    ::unlink(temporary.c_str());
    return status;
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    absl::Status status = ErrnoStatus(fmt::format("cannot replace {}", path));
    ::unlink(temporary.c_str());
    return status;
  }
  const std::string folder = std::filesystem::path(path).parent_path().string();
  return SyncDirectory(folder.empty() ? "." : folder);
}

absl::Status AtomicWriteSecretFile(const std::string& path, std::string_view bytes) {
  return AtomicWriteFile(path, bytes, 0600);
}

absl::Status MakeDirectories(const std::string& path, mode_t mode) {
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  std::error_code error;
  if (!parent.empty() && !std::filesystem::exists(parent, error)) {
    CHOIR_RETURN_IF_ERROR(MakeDirectories(parent.string(), mode));
  }
  if (::mkdir(path.c_str(), mode) != 0 && errno != EEXIST) {
    return ErrnoStatus(fmt::format("cannot make the folder {}", path));
  }
  if (!std::filesystem::is_directory(path, error)) {
    return absl::InvalidArgumentError(fmt::format("{} exists and is no folder", path));
  }
  return absl::OkStatus();
}

absl::Status SyncDirectory(const std::string& path) {
  const Descriptor fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() < 0) return ErrnoStatus(fmt::format("cannot open the folder {}", path));
  if (::fsync(fd.get()) != 0) return ErrnoStatus(fmt::format("cannot flush the folder {}", path));
  return absl::OkStatus();
}

}  // namespace choir
