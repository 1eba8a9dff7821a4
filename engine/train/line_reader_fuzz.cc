#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "base/check.h"
#include "base/file.h"
#include "engine/train/line_reader.h"

namespace choir::engine {
namespace {

constexpr uint64_t kMaxLineBytes = 64;
constexpr size_t kBufferBytes = size_t{1} << 20;  // the reader's own

// The plain way: all of the text at once.
std::vector<LineReader::Line> SplitAtOnce(std::string_view text) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  std::vector<LineReader::Line> lines;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    const bool too_long = line.size() > kMaxLineBytes;
    lines.push_back({.text = std::string(too_long ? std::string_view() : line),
                     .number = lines.size() + 1,
                     .bytes = line.size(),
                     .too_long = too_long});
    text.remove_prefix(line.size() == text.size() ? text.size() : line.size() + 1);
  }
  return lines;
}

void CheckFile(const std::string& text) {
  const int fd = ::memfd_create("lines", MFD_CLOEXEC);
  CHOIR_CHECK(fd >= 0);
  CHOIR_CHECK(::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  absl::StatusOr<LineReader> reader =
      LineReader::Open(fmt::format("/proc/self/fd/{}", fd), kMaxLineBytes);
  CHOIR_CHECK(reader.ok());
  LineReader::Line line;
  for (const LineReader::Line& want : SplitAtOnce(text)) {
    const absl::StatusOr<bool> more = reader->Next(line);
    CHOIR_CHECK(more.ok() && *more);
    CHOIR_CHECK(line.text == want.text && line.number == want.number);
    CHOIR_CHECK(line.bytes == want.bytes && line.too_long == want.too_long);
  }
  CHOIR_CHECK(!*reader->Next(line));
  ::close(fd);
}

}  // namespace
}  // namespace choir::engine

// Lines are those of the whole text, wherever the end of the reader's buffer falls.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace choir::engine;
  if (size == 0) return 0;
  const std::string text(choir::AsChars({data + 1, size - 1}));
  CheckFile(text);
  if (size % 16 == 0) {  // dear: a megabyte before the text, which begins some bytes early
    CheckFile(std::string(kBufferBytes - data[0], 'x') + text);
  }
  return 0;
}
