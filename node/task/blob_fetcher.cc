#include "node/task/blob_fetcher.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string_view>
#include <system_error>

#include "absl/time/clock.h"
#include <fmt/format.h>

#include "base/file.h"
#include "base/status_macros.h"

namespace choir::node {
namespace {

constexpr std::string_view kSuffix = ".partial";
constexpr size_t kDigits = 16;  // of the hash: nobody has two blobs that agree in 64 bits
constexpr absl::Duration kForgottenAfter = absl::Hours(14 * 24);

// What this device cannot do (a full disk, say) does not pass by asking the coordinator again.
absl::Status Ours(const absl::Status& status) {
  return status.ok() ? status : absl::InternalError(status.message());
}

// The growing file of one download.
class PartialFile {
 public:
  explicit PartialFile(const std::string& path)
      : path_(path), fd_(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600)) {}
  ~PartialFile() {
    if (fd_ >= 0) ::close(fd_);
  }
  PartialFile(const PartialFile&) = delete;
  PartialFile& operator=(const PartialFile&) = delete;

  absl::StatusOr<uint64_t> Size() const {
    struct stat info {};
    if (fd_ < 0 || ::fstat(fd_, &info) != 0) {
      return Ours(ErrnoStatus(fmt::format("cannot open {}", path_)));
    }
    return static_cast<uint64_t>(info.st_size);
  }
  absl::Status WriteAt(uint64_t offset, const std::string& data) const {
    size_t done = 0;
    while (done < data.size()) {
      const ssize_t n =
          ::pwrite(fd_, data.data() + done, data.size() - done, static_cast<off_t>(offset + done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return Ours(ErrnoStatus(fmt::format("cannot write {}", path_)));
      done += static_cast<size_t>(n);
    }
    return absl::OkStatus();
  }
  absl::Status Sync() const {
    if (::fsync(fd_) != 0) return Ours(ErrnoStatus(fmt::format("cannot flush {}", path_)));
    return absl::OkStatus();
  }

 private:
  std::string path_;
  int fd_;
};

std::string PartialPath(const std::string& path, const Digest& digest) {
  return fmt::format("{}.{}{}", path, DigestToHex(digest).substr(0, kDigits), kSuffix);
}

// What is left of downloads that will not go on.
void RemoveStale(const std::string& path, const std::string& keep) {
  const std::filesystem::path wanted(path);
  const std::string prefix = wanted.filename().string() + ".";
  std::error_code error;
  for (std::filesystem::directory_iterator it(wanted.parent_path(), error), end;
       !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (!name.ends_with(kSuffix) || it->path() == std::filesystem::path(keep)) continue;
    struct stat info {};
    const bool of_this_path = name.starts_with(prefix);
    const bool old = ::stat(it->path().c_str(), &info) == 0 &&
                     absl::Now() - absl::FromTimeT(info.st_mtime) > kForgottenAfter;
    if (of_this_path || old) ::unlink(it->path().c_str());
  }
}

}  // namespace

absl::Status FetchBlobToFile(CoordinatorClient& client, const Digest& digest, uint64_t size_bytes,
                             const std::string& path,
                             absl::FunctionRef<void(uint64_t, uint64_t)> progress) {
  const std::string partial_path = PartialPath(path, digest);
  RemoveStale(path, partial_path);
  const PartialFile partial(partial_path);
  CHOIR_ASSIGN_OR_RETURN(uint64_t offset, partial.Size());
  if (offset > size_bytes) offset = 0;
  if (offset < size_bytes) {
    const auto take = [&](const v1::BlobChunk& chunk) -> absl::Status {
      if (chunk.offset() != offset || chunk.data().size() > size_bytes - offset) {
        return absl::DataLossError(
            fmt::format("the coordinator sends bytes {}+{} of a blob of {}, wanted from {}",
                        chunk.offset(), chunk.data().size(), size_bytes, offset));
      }
      CHOIR_RETURN_IF_ERROR(partial.WriteAt(offset, chunk.data()));
      offset += chunk.data().size();
      progress(offset, size_bytes);
      return absl::OkStatus();
    };
    CHOIR_RETURN_IF_ERROR(client.FetchBlob(digest, offset, take));
  }
  if (offset < size_bytes) {
    return absl::UnavailableError(
        fmt::format("the download stopped at {} of {} bytes", offset, size_bytes));
  }
  CHOIR_RETURN_IF_ERROR(partial.Sync());
  CHOIR_ASSIGN_OR_RETURN(const Digest found, Sha256OfFile(partial_path));
  if (found != digest) {
    ::unlink(partial_path.c_str());
    return absl::DataLossError(fmt::format("a downloaded blob has hash {}, wanted {}",
                                           DigestToHex(found), DigestToHex(digest)));
  }
  if (::rename(partial_path.c_str(), path.c_str()) != 0) {
    return Ours(ErrnoStatus(fmt::format("cannot move the download to {}", path)));
  }
  return SyncDirectory(std::filesystem::path(path).parent_path().string());
}

}  // namespace choir::node
