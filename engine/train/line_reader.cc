#include "engine/train/line_reader.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "base/file.h"
#include "base/status_macros.h"

namespace choir::engine {
namespace {

constexpr size_t kBufferBytes = size_t{1} << 20;
constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

}  // namespace

absl::StatusOr<LineReader> LineReader::Open(const std::string& path, uint64_t max_line_bytes) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(fmt::format("cannot open {}", path));
  LineReader reader(fd, path, max_line_bytes);
  CHOIR_ASSIGN_OR_RETURN(bool more, reader.Fill());
  while (more && reader.buffer_.size() < kByteOrderMark.size()) {
    CHOIR_ASSIGN_OR_RETURN(more, reader.Fill());
  }
  if (reader.buffer_.starts_with(kByteOrderMark)) reader.at_ = kByteOrderMark.size();
  return reader;
}

LineReader::LineReader(LineReader&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      path_(std::move(other.path_)),
      max_line_bytes_(other.max_line_bytes_),
      number_(other.number_),
      buffer_(std::move(other.buffer_)),
      at_(other.at_) {}

LineReader::~LineReader() {
  if (fd_ >= 0) ::close(fd_);
}

absl::StatusOr<bool> LineReader::Fill() {
  buffer_.erase(0, at_);
  at_ = 0;
  const size_t kept = buffer_.size();
  buffer_.resize(kept + kBufferBytes);
  ssize_t got = 0;
  do {
    got = ::read(fd_, buffer_.data() + kept, kBufferBytes);
  } while (got < 0 && errno == EINTR);
  buffer_.resize(kept + static_cast<size_t>(std::max<ssize_t>(got, 0)));
  if (got < 0) return ErrnoStatus(fmt::format("cannot read {}", path_));
  return got > 0;
}

void LineReader::Take(size_t count, Line& line) {
  line.bytes += count;
  if (line.bytes > max_line_bytes_) {
    line.too_long = true;
    line.text.clear();
  } else {
    line.text.append(buffer_, at_, count);
  }
  at_ += count;
}

absl::StatusOr<bool> LineReader::Next(Line& line) {
  line = Line{.text = std::move(line.text)};
  line.text.clear();
  line.number = ++number_;
  bool any = false;
  for (;;) {
    any = any || at_ < buffer_.size();
    const size_t end = buffer_.find('\n', at_);
    Take((end == std::string::npos ? buffer_.size() : end) - at_, line);
    if (end != std::string::npos) {
      ++at_;
      return true;
    }
    CHOIR_ASSIGN_OR_RETURN(const bool more, Fill());
    if (!more) return any;
  }
}

}  // namespace choir::engine
