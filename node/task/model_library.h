#ifndef CHOIR_NODE_TASK_MODEL_LIBRARY_H_
#define CHOIR_NODE_TASK_MODEL_LIBRARY_H_

// The base models that the device has, by hash: the owner's own files, and what was downloaded.

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "base/sha256.h"

namespace choir::node {

class ModelLibrary {
 public:
  // `own_paths`: the owner's files; `folder`: downloads, named by their hash. Hashing gigabytes
  // takes time, so a file's hash is remembered in `folder` by its path, size and time of change.
  ModelLibrary(std::vector<std::string> own_paths, std::string folder);

  // Looks again at what is there. What cannot be read is skipped; the texts say what and why.
  std::vector<std::string> Refresh();
  [[nodiscard]] std::vector<Digest> digests() const;
  // The path of the model with this hash, if the device has it.
  [[nodiscard]] std::optional<std::string> Find(const Digest& digest) const;
  // Where a download of this model goes.
  [[nodiscard]] std::string DownloadPath(const Digest& digest) const;

 private:
  absl::StatusOr<Digest> HashOf(const std::string& path) const;

  std::vector<std::string> own_paths_;
  std::string folder_;
  std::map<Digest, std::string> models_;
};

}  // namespace choir::node

#endif  // CHOIR_NODE_TASK_MODEL_LIBRARY_H_
