#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include <fmt/format.h>

#include "base/file.h"

namespace choir {
namespace {

absl::StatusOr<std::span<const uint8_t>> MapDescriptor(int fd, const std::string& path) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return ErrnoStatus(fmt::format("cannot stat {}", path));
  if (!S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(fmt::format("{} is not a regular file", path));
  }
  const auto size = static_cast<size_t>(info.st_size);
  if (size == 0) return std::span<const uint8_t>();
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
  if (address == MAP_FAILED) return ErrnoStatus(fmt::format("cannot map {}", path));
  return std::span<const uint8_t>(static_cast<const uint8_t*>(address), size);
}

// Rounds outwards for a prefetch; inwards for a release, which must not touch the neighbours.
void Advise(std::span<const uint8_t> bytes, int advice, bool outwards) {
  static const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<uintptr_t>(bytes.data());
  const uintptr_t end = begin + bytes.size();
  const uintptr_t first = outwards ? begin / page * page : (begin + page - 1) / page * page;
  const uintptr_t last = end / page * page;
  if (last <= first) return;
  // NOLINTNEXTLINE(performance-no-int-to-ptr): an address for the kernel, read through by nobody.
  static_cast<void>(::madvise(reinterpret_cast<void*>(first), last - first, advice));
}

}  // namespace

absl::StatusOr<MappedFile> MappedFile::Open(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(fmt::format("cannot open {}", path));
  absl::StatusOr<std::span<const uint8_t>> bytes = MapDescriptor(fd, path);
  ::close(fd);
  if (!bytes.ok()) return bytes.status();
  return MappedFile(*bytes);
}

MappedFile::MappedFile(MappedFile&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  if (this != &other) {
    Unmap();
    bytes_ = std::exchange(other.bytes_, {});
  }
  return *this;
}

MappedFile::~MappedFile() {
  Unmap();
}

void MappedFile::Unmap() {
  if (!bytes_.empty()) ::munmap(const_cast<uint8_t*>(bytes_.data()), bytes_.size());
  bytes_ = {};
}

void PrefetchMapped(std::span<const uint8_t> bytes) {
  Advise(bytes, MADV_WILLNEED, true);
}

// The mapping is read-only and of a file, so nothing is lost: the pages come back from the file.
void ReleaseMapped(std::span<const uint8_t> bytes) {
  Advise(bytes, MADV_DONTNEED, false);
}

}  // namespace choir
