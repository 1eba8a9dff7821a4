#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include <fmt/format.h>

#include "base/file.h"
#include "base/status_macros.h"
#include "coordinator/blob/blob_store.h"

namespace choir::coordinator {
namespace {

constexpr std::string_view kPartial = ".partial";

// A file descriptor that closes itself.
class File {
 public:
  File(const std::string& path, int flags) : fd_(open(path.c_str(), flags | O_CLOEXEC, 0600)) {}
  ~File() {
    if (fd_ >= 0) close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] bool ok() const { return fd_ >= 0; }

 private:
  int fd_;
};

absl::Status WriteAt(int fd, std::span<const uint8_t> data, uint64_t offset,
                     const std::string& path) {
  while (!data.empty()) {
    const ssize_t n = pwrite(fd, data.data(), data.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(path);
    data = data.subspan(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadAt(int fd, uint64_t offset, uint64_t size,
                                   const std::string& path) {
  std::string out(size, '\0');
  size_t done = 0;
  while (done < out.size()) {
    const ssize_t n =
        pread(fd, out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(path);
    if (n == 0) break;
    done += static_cast<size_t>(n);
  }
  out.resize(done);
  return out;
}

// Nothing if there is no such file.
absl::StatusOr<std::optional<uint64_t>> SizeOf(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) == 0) return static_cast<uint64_t>(info.st_size);
  if (errno == ENOENT) return std::nullopt;
  return ErrnoStatus(path);
}

class DirectoryBlobStore final : public BlobStore {
 public:
  DirectoryBlobStore(std::string path, uint64_t max_blob_bytes)
      : path_(std::move(path)), max_blob_bytes_(max_blob_bytes) {}

  absl::StatusOr<BlobInfo> Stat(const Digest& digest) override {
    CHOIR_ASSIGN_OR_RETURN(const std::optional<uint64_t> whole, SizeOf(PathOf(digest)));
    if (whole.has_value()) return BlobInfo{*whole, true};
    CHOIR_ASSIGN_OR_RETURN(const std::optional<uint64_t> part, SizeOf(PartialOf(digest)));
    return BlobInfo{part.value_or(0), false};
  }

  absl::StatusOr<BlobInfo> Put(const Digest& digest, uint64_t total_bytes, uint64_t offset,
                               std::span<const uint8_t> data) override {
    if (total_bytes > max_blob_bytes_) {
      return absl::InvalidArgumentError(
          fmt::format("a blob of {} bytes; at most {} are taken", total_bytes, max_blob_bytes_));
    }
    if (offset > total_bytes || data.size() > total_bytes - offset) {
      return absl::InvalidArgumentError(fmt::format("bytes [{}, +{}) lie outside the {}-byte blob",
                                                    offset, data.size(), total_bytes));
    }
    absl::MutexLock lock(&mu_);
    CHOIR_ASSIGN_OR_RETURN(const BlobInfo before, Stat(digest));
    if (before.complete) return before;
    if (offset > before.stored_bytes) {
      return absl::OutOfRangeError(
          fmt::format("{} bytes are stored; {} cannot come next", before.stored_bytes, offset));
    }
    const uint64_t known = std::min<uint64_t>(before.stored_bytes - offset, data.size());
    const uint64_t stored = before.stored_bytes + data.size() - known;
    CHOIR_RETURN_IF_ERROR(Append(digest, before.stored_bytes,
                                 data.subspan(static_cast<size_t>(known)), stored >= total_bytes));
    if (stored < total_bytes) return BlobInfo{stored, false};
    CHOIR_RETURN_IF_ERROR(Complete(digest));
    return BlobInfo{stored, true};
  }

  absl::Status PutWhole(const Digest& digest, std::span<const uint8_t> data) override {
    if (Sha256Of(data) != digest) {
      return absl::DataLossError("the blob does not have the hash that it was given with");
    }
    absl::MutexLock lock(&mu_);
    CHOIR_RETURN_IF_ERROR(MakeDirectories(FolderOf(digest), 0700));
    return AtomicWriteFile(PathOf(digest), AsChars(data), 0600);
  }

  absl::StatusOr<std::string> LocalFile(const Digest& digest) override {
    CHOIR_ASSIGN_OR_RETURN(const std::optional<uint64_t> size, SizeOf(PathOf(digest)));
    if (size.has_value()) return PathOf(digest);
    return absl::NotFoundError(fmt::format("there is no blob {}", DigestToHex(digest)));
  }

  absl::StatusOr<std::string> Read(const Digest& digest, uint64_t offset,
                                   uint64_t max_bytes) override {
    const std::string path = PathOf(digest);
    CHOIR_ASSIGN_OR_RETURN(const std::optional<uint64_t> size, SizeOf(path));
    if (!size.has_value()) {
      return absl::NotFoundError(fmt::format("there is no blob {}", DigestToHex(digest)));
    }
    if (offset > *size) {
      return absl::OutOfRangeError(
          fmt::format("offset {} is beyond the {}-byte blob", offset, *size));
    }
    const File file(path, O_RDONLY);
    if (!file.ok()) return ErrnoStatus(path);
    return ReadAt(file.fd(), offset, std::min(max_bytes, *size - offset), path);
  }

  absl::StatusOr<std::vector<BlobEntry>> List() override {
    std::vector<BlobEntry> out;
    std::error_code error;
    std::filesystem::recursive_directory_iterator files(path_, error);
    for (; !error && files != std::filesystem::end(files); files.increment(error)) {
      const std::string name = files->path().filename().string();
      const bool complete = !name.ends_with(kPartial);
      const absl::StatusOr<Digest> digest =
          DigestFromHex(name.substr(0, name.size() - (complete ? 0 : kPartial.size())));
      if (!digest.ok()) continue;  // a folder, or a file that is not ours
      CHOIR_ASSIGN_OR_RETURN(const std::optional<uint64_t> size, SizeOf(files->path().string()));
      if (size.has_value()) out.push_back({*digest, {*size, complete}});
    }
    if (!error) return out;
    return absl::UnavailableError(fmt::format("{}: {}", path_, error.message()));
  }

  absl::Status Remove(const Digest& digest) override {
    absl::MutexLock lock(&mu_);
    for (const std::string& path : {PathOf(digest), PartialOf(digest)}) {
      if (unlink(path.c_str()) != 0 && errno != ENOENT) return ErrnoStatus(path);
    }
    return absl::OkStatus();
  }

 private:
  [[nodiscard]] std::string FolderOf(const Digest& digest) const {
    return fmt::format("{}/{}", path_, DigestToHex(digest).substr(0, 2));
  }
  [[nodiscard]] std::string PathOf(const Digest& digest) const {
    return fmt::format("{}/{}", FolderOf(digest), DigestToHex(digest));
  }
  [[nodiscard]] std::string PartialOf(const Digest& digest) const {
    return fmt::format("{}{}", PathOf(digest), kPartial);
  }

  // Pieces need no fsync of their own: after a crash the hash tells whether they are all there.
  absl::Status Append(const Digest& digest, uint64_t offset, std::span<const uint8_t> data,
                      bool sync) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    CHOIR_RETURN_IF_ERROR(MakeDirectories(FolderOf(digest), 0700));
    const std::string path = PartialOf(digest);
    const File file(path, O_WRONLY | O_CREAT);
    if (!file.ok()) return ErrnoStatus(path);
    CHOIR_RETURN_IF_ERROR(WriteAt(file.fd(), data, offset, path));
    if (sync && fsync(file.fd()) != 0) return ErrnoStatus(path);
    return absl::OkStatus();
  }

  absl::Status Complete(const Digest& digest) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    const std::string partial = PartialOf(digest);
    CHOIR_ASSIGN_OR_RETURN(const Digest got, Sha256OfFile(partial));
    if (got != digest) {
      if (unlink(partial.c_str()) != 0) return ErrnoStatus(partial);
      return absl::DataLossError(fmt::format(
          "the bytes have the hash {}, not {}; the upload was thrown away: send it again",
          DigestToHex(got), DigestToHex(digest)));
    }
    if (std::rename(partial.c_str(), PathOf(digest).c_str()) != 0) return ErrnoStatus(partial);
    return SyncDirectory(FolderOf(digest));
  }

  const std::string path_;
  const uint64_t max_blob_bytes_;
  // Writers only; readers see whole blobs, whose names appear at once.
  absl::Mutex mu_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<BlobStore>> OpenDirectoryBlobStore(const std::string& path,
                                                                  uint64_t max_blob_bytes) {
  CHOIR_RETURN_IF_ERROR(MakeDirectories(path, 0700));
  return std::make_unique<DirectoryBlobStore>(path, max_blob_bytes);
}

}  // namespace choir::coordinator
