#include "node/task/model_library.h"

#include <sys/stat.h>

#include <filesystem>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "base/file.h"
#include "base/status_macros.h"

namespace choir::node {

ModelLibrary::ModelLibrary(std::vector<std::string> own_paths, std::string folder)
    : own_paths_(std::move(own_paths)), folder_(std::move(folder)) {}

std::vector<std::string> ModelLibrary::Refresh() {
  std::vector<std::string> problems;
  std::map<Digest, std::string> found;
  for (const std::string& path : own_paths_) {
    const absl::StatusOr<Digest> digest = HashOf(path);
    if (digest.ok()) {
      found[*digest] = path;
    } else {
      problems.push_back(fmt::format("base model {}: {}", path, digest.status().ToString()));
    }
  }
  std::error_code error;
  for (std::filesystem::directory_iterator it(folder_, error), end; !error && it != end;
       it.increment(error)) {
    if (it->path().extension() != ".gguf") continue;
    // The name is the hash that was checked before the file got it.
    const absl::StatusOr<Digest> digest = DigestFromHex(it->path().stem().string());
    if (digest.ok()) found.emplace(*digest, it->path().string());
  }
  models_ = std::move(found);
  return problems;
}

std::vector<Digest> ModelLibrary::digests() const {
  std::vector<Digest> out;
  for (const auto& [digest, path] : models_) out.push_back(digest);
  return out;
}

std::optional<std::string> ModelLibrary::Find(const Digest& digest) const {
  const auto it = models_.find(digest);
  if (it == models_.end()) return std::nullopt;
  return it->second;
}

std::string ModelLibrary::DownloadPath(const Digest& digest) const {
  return fmt::format("{}/{}.gguf", folder_, DigestToHex(digest));
}

absl::StatusOr<Digest> ModelLibrary::HashOf(const std::string& path) const {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return ErrnoStatus(fmt::format("cannot stat {}", path));
  const std::string name = DigestToHex(Sha256()
                                           .Update(path)
                                           .UpdateU64(static_cast<uint64_t>(info.st_size))
                                           .UpdateU64(static_cast<uint64_t>(info.st_mtim.tv_sec))
                                           .UpdateU64(static_cast<uint64_t>(info.st_mtim.tv_nsec))
                                           .Finish());
  const std::string remembered = fmt::format("{}/{}.sha256", folder_, name);
  if (const auto text = ReadFile(remembered, 64); text.ok()) {
    if (const auto digest = DigestFromHex(*text); digest.ok()) return digest;
  }
  CHOIR_ASSIGN_OR_RETURN(const Digest digest, Sha256OfFile(path));
  CHOIR_RETURN_IF_ERROR(AtomicWriteFile(remembered, DigestToHex(digest), 0600));
  return digest;
}

}  // namespace choir::node
