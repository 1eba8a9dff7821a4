#include "engine/model/key_reader.h"

#include <fmt/format.h>

#include "base/status_macros.h"

namespace choir::engine {

absl::StatusOr<int64_t> KeyReader::Size(std::string_view key, uint32_t max,
                                        std::optional<int64_t> fallback) const {
  const std::string full = Full(key);
  std::optional<uint32_t> default_value;
  if (fallback.has_value()) default_value = static_cast<uint32_t>(*fallback);
  CHOIR_ASSIGN_OR_RETURN(const uint32_t value, file_.GetU32(full, default_value));
  if (value >= 1 && value <= max) return static_cast<int64_t>(value);
  return absl::InvalidArgumentError(
      fmt::format("{} is {}, must be from 1 to {}", full, value, max));
}

absl::StatusOr<double> KeyReader::Number(std::string_view key, double min, double max,
                                         std::optional<float> fallback) const {
  const std::string full = Full(key);
  CHOIR_ASSIGN_OR_RETURN(const float value, file_.GetF32(full, fallback));
  const auto number = static_cast<double>(value);
  // Written so that NaN fails.
  if (number >= min && number <= max) return number;
  return absl::InvalidArgumentError(
      fmt::format("{} is {}, must be from {} to {}", full, value, min, max));
}

absl::StatusOr<std::string_view> KeyReader::String(std::string_view key,
                                                   std::string_view fallback) const {
  return file_.GetString(Full(key), fallback);
}

std::string KeyReader::Full(std::string_view key) const {
  return fmt::format("{}.{}", architecture_, key);
}

}  // namespace choir::engine
