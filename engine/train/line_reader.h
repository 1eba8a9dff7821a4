#ifndef CHOIR_ENGINE_TRAIN_LINE_READER_H_
#define CHOIR_ENGINE_TRAIN_LINE_READER_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace choir::engine {

// Reads a text file line by line with one small buffer, so that the file may be larger than memory.
// A byte order mark at its beginning is left out.
class LineReader {
 public:
  struct Line {
    std::string text;       // without its line break; empty if the line was too long
    uint64_t number = 0;    // from 1
    uint64_t bytes = 0;     // as in the file, without its line break
    bool too_long = false;  // more than max_line_bytes
  };

  // NOT_FOUND, PERMISSION_DENIED or UNAVAILABLE, naming the file.
  static absl::StatusOr<LineReader> Open(const std::string& path, uint64_t max_line_bytes);
  LineReader(LineReader&& other) noexcept;
  LineReader& operator=(LineReader&&) = delete;
  ~LineReader();

  // The next line into `line`; false at the end. UNAVAILABLE if reading fails.
  absl::StatusOr<bool> Next(Line& line);

 private:
  LineReader(int fd, std::string path, uint64_t max_line_bytes)
      : fd_(fd), path_(std::move(path)), max_line_bytes_(max_line_bytes) {}
  // Reads on; false at the end of the file.
  absl::StatusOr<bool> Fill();
  void Take(size_t count, Line& line);

  int fd_;
  std::string path_;
  uint64_t max_line_bytes_;
  uint64_t number_ = 0;
  std::string buffer_;
  size_t at_ = 0;  // of buffer_
};

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_TRAIN_LINE_READER_H_
