#include "cli/demo_folder.h"

#include <cstdlib>
#include <filesystem>

#include <fmt/format.h>

#include "base/file.h"
#include "base/status_macros.h"
#include "cli/failure.h"

namespace choir::cli {

namespace fs = std::filesystem;

absl::StatusOr<DemoFolder> DemoFolder::Make(const std::string& keep) {
  std::error_code error;
  if (keep.empty()) {
    std::string pattern = (fs::temp_directory_path() / "choir-demo-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) {
      return ErrnoStatus(fmt::format("cannot make a folder like {}", pattern));
    }
    return DemoFolder(pattern, false);
  }
  if (fs::exists(keep, error) && !fs::is_empty(keep, error)) {
    return WithHint(absl::AlreadyExistsError(fmt::format("{} is not an empty folder", keep)),
                    "--keep takes a new or an empty one; delete it if it is of an earlier demo");
  }
  const std::string path = fs::absolute(keep).lexically_normal().string();
  CHOIR_RETURN_IF_ERROR(MakeDirectories(path, 0700));
  return DemoFolder(path, true);
}

DemoFolder::~DemoFolder() {
  if (path_.empty() || keep_) return;
  std::error_code ignored;  // what cannot be removed stays in the temporary folder
  fs::remove_all(path_, ignored);
}

}  // namespace choir::cli
