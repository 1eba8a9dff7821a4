#include "coordinator/service/upload.h"

#include <fcntl.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "base/failpoint.h"
#include "base/file.h"
#include "base/mapped_file.h"
#include "base/status_macros.h"

namespace choir::coordinator {
namespace {

static_assert(std::endian::native == std::endian::little, "the spool's length is little-endian");

// An encoded MaskedInputHeader has some 200 bytes.
constexpr uint32_t kMaxHeaderBytes = 4096;

absl::Status WriteAll(int fd, std::span<const uint8_t> data, uint64_t offset,
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

absl::StatusOr<int> OpenSpool(const std::string& path) {
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(path);
  return fd;
}

}  // namespace

Upload::Upload(std::string path, int fd, std::vector<uint8_t> header,
               secagg::ChunkAssembler assembler, absl::Time now)
    : path_(std::move(path)),
      fd_(fd),
      header_(std::move(header)),
      node_(assembler.header().node_id),
      assembler_(std::move(assembler)),
      last_progress_(now) {}

Upload::~Upload() {
  close(fd_);
}

absl::StatusOr<std::shared_ptr<Upload>> Upload::Begin(const std::string& path,
                                                      const secagg::MaskedInputHeader& header,
                                                      std::span<const uint8_t> bytes,
                                                      absl::Time now) {
  if (bytes.size() > kMaxHeaderBytes) {
    return absl::InvalidArgumentError(fmt::format("an upload header of {} bytes", bytes.size()));
  }
  const auto length = static_cast<uint32_t>(bytes.size());
  std::string start(sizeof(length), '\0');
  std::memcpy(start.data(), &length, sizeof(length));
  start += AsChars(bytes);
  CHOIR_RETURN_IF_ERROR(AtomicWriteFile(path, start, 0600));
  CHOIR_ASSIGN_OR_RETURN(const int fd, OpenSpool(path));
  // shared_ptr: the session lists it while a call still writes to it.
  return std::shared_ptr<Upload>(
      new Upload(path, fd, {bytes.begin(), bytes.end()}, secagg::ChunkAssembler(header), now));
}

absl::StatusOr<std::shared_ptr<Upload>> Upload::Resume(const std::string& path, absl::Time now) {
  CHOIR_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  const std::span<const uint8_t> bytes = file.bytes();
  uint32_t length = 0;
  if (bytes.size() < sizeof(length)) {
    return absl::DataLossError(fmt::format("{}: {} bytes are no spool", path, bytes.size()));
  }
  std::memcpy(&length, bytes.data(), sizeof(length));
  if (length > kMaxHeaderBytes || length > bytes.size() - sizeof(length)) {
    return absl::DataLossError(fmt::format("{}: the header's length {} is wrong", path, length));
  }
  const std::span<const uint8_t> header = bytes.subspan(sizeof(length), length);
  CHOIR_ASSIGN_OR_RETURN(secagg::MaskedInputHeader decoded,
                         secagg::DecodeMaskedInputHeader(header));
  CHOIR_ASSIGN_OR_RETURN(
      secagg::ChunkAssembler assembler,
      secagg::ChunkAssembler::Resume(std::move(decoded), bytes.subspan(sizeof(length) + length)));
  CHOIR_ASSIGN_OR_RETURN(const int fd, OpenSpool(path));
  std::shared_ptr<Upload> upload(
      new Upload(path, fd, {header.begin(), header.end()}, std::move(assembler), now));
  absl::MutexLock lock(&upload->mu_);
  const uint64_t end = upload->DataOffset() + upload->assembler_.next_offset();
  if (ftruncate(fd, static_cast<off_t>(end)) != 0) return ErrnoStatus(path);
  return upload;
}

absl::Status Upload::Append(const secagg::MaskedInputChunk& chunk, absl::Time now) {
  absl::MutexLock lock(&mu_);
  // A copy goes on, so that a chunk that cannot be written can be sent again.
  secagg::ChunkAssembler next = assembler_;
  const uint64_t offset = DataOffset() + next.next_offset();
  CHOIR_ASSIGN_OR_RETURN(const bool fresh, next.Accept(chunk));
  if (!fresh) return absl::OkStatus();
  CHOIR_RETURN_IF_ERROR(WriteAll(fd_, chunk.data, offset, path_));
  if (fdatasync(fd_) != 0) return ErrnoStatus(path_);
  assembler_ = std::move(next);
  last_progress_ = now;
  CHOIR_FAILPOINT("coordinator-chunk-stored");
  return absl::OkStatus();
}

uint32_t Upload::next_chunk() const {
  absl::MutexLock lock(&mu_);
  return assembler_.next();
}

bool Upload::complete() const {
  absl::MutexLock lock(&mu_);
  return assembler_.complete();
}

absl::Time Upload::last_progress() const {
  absl::MutexLock lock(&mu_);
  return last_progress_;
}

absl::StatusOr<std::vector<uint8_t>> Upload::Read() const {
  CHOIR_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path_));
  const std::span<const uint8_t> bytes = file.bytes();
  if (bytes.size() < DataOffset()) {
    return absl::DataLossError(fmt::format("{}: the spool has been cut short", path_));
  }
  const std::span<const uint8_t> data = bytes.subspan(DataOffset());
  return std::vector<uint8_t>(data.begin(), data.end());
}

}  // namespace choir::coordinator
