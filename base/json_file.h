#ifndef CHOIR_BASE_JSON_FILE_H_
#define CHOIR_BASE_JSON_FILE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include <fmt/format.h>

#include "base/status_macros.h"
#include <nlohmann/json.hpp>

// Small files of JSON that one of our processes leaves for another: readable by their owner only,
// and whole or not there. nlohmann::json throws; these do not.
namespace choir {

// The bytes of such a file: 1 MiB at most. NOT_FOUND, or the errors of ReadFile().
absl::StatusOr<std::string> ReadJsonText(const std::string& path);
// Text that is not UTF-8 (a path may hold any bytes) is written with replacement characters.
absl::Status WriteJsonFile(const std::string& path, const nlohmann::json& json);

// What `read` makes of the file; it may throw nlohmann's exceptions. DATA_LOSS, with the path, if
// the file is no JSON, or a field is missing or of another type.
template <typename T>
absl::StatusOr<T> ReadJsonFile(const std::string& path, T (*read)(const nlohmann::json&)) {
  CHOIR_ASSIGN_OR_RETURN(const std::string text, ReadJsonText(path));
  try {
    return read(nlohmann::json::parse(text));
  } catch (const nlohmann::json::exception& error) {
    return absl::DataLossError(fmt::format("{} is damaged: {}", path, error.what()));
  }
}

}  // namespace choir

#endif  // CHOIR_BASE_JSON_FILE_H_
