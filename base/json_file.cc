#include "base/json_file.h"

#include <cstdint>

#include "base/file.h"

namespace choir {
namespace {

constexpr uint64_t kMaxJsonBytes = 1 << 20;

}  // namespace

absl::StatusOr<std::string> ReadJsonText(const std::string& path) {
  return ReadFile(path, kMaxJsonBytes);
}

absl::Status WriteJsonFile(const std::string& path, const nlohmann::json& json) {
  return AtomicWriteSecretFile(path,
                               json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

}  // namespace choir
