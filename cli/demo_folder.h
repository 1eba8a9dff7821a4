#ifndef CHOIR_CLI_DEMO_FOLDER_H_
#define CHOIR_CLI_DEMO_FOLDER_H_

#include <string>
#include <utility>

#include "absl/status/statusor.h"

namespace choir::cli {

// Where a demo keeps everything. Removed with the object, unless it is to be kept.
class DemoFolder {
 public:
  // `keep`: the folder to use, new or empty; empty: a fresh temporary one. ALREADY_EXISTS if
  // something is in it.
  static absl::StatusOr<DemoFolder> Make(const std::string& keep);
  ~DemoFolder();
  DemoFolder(DemoFolder&& other) noexcept
      : path_(std::exchange(other.path_, {})), keep_(other.keep_) {}
  DemoFolder& operator=(DemoFolder&&) = delete;

  void Keep() { keep_ = true; }
  // Absolute.
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  DemoFolder(std::string path, bool keep) : path_(std::move(path)), keep_(keep) {}

  std::string path_;
  bool keep_;
};

}  // namespace choir::cli

#endif  // CHOIR_CLI_DEMO_FOLDER_H_
