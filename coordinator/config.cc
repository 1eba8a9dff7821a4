#include "coordinator/config.h"

#include <toml++/toml.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <optional>

#include <fmt/format.h>

#include "base/status_macros.h"

namespace choir::coordinator {
namespace {

struct TextKey {
  std::string_view name;
  std::string* value;
};
struct NumberKey {
  std::string_view name;
  int64_t min;
  int64_t max;
  uint32_t* value;
};

// How often a sweep runs is the shortest time that it can promise; ten years are for ever.
constexpr int64_t kMinUnusedHours = 1;
constexpr int64_t kMaxUnusedHours = 10 * 365 * 24;
constexpr int64_t kMaxKeptVersions = 1'000'000;
constexpr int64_t kMaxHandshakeS = 600;

template <typename Key, size_t N>
const Key* Find(const Key (&keys)[N], std::string_view name) {
  const Key* key = std::ranges::find(keys, name, &Key::name);
  return key == std::end(keys) ? nullptr : key;
}

absl::StatusOr<toml::table> ParseToml(std::string_view text, std::string_view origin) {
  try {
    return toml::parse(text, origin);
  } catch (const toml::parse_error& error) {
    return absl::InvalidArgumentError(fmt::format("{}:{}: {}", origin, error.source().begin.line,
                                                  std::string(error.description())));
  }
}

}  // namespace

absl::StatusOr<CoordinatorConfig> ParseConfig(std::string_view text, std::string_view origin) {
  CHOIR_ASSIGN_OR_RETURN(const toml::table table, ParseToml(text, origin));
  CoordinatorConfig config;
  const TextKey texts[] = {
      {"data", &config.server.data},
      {"listen", &config.server.listen},
      {"enrol_listen", &config.server.enrol_listen},
      {"public_address", &config.server.public_address},
      {"enrol_public_address", &config.server.enrol_public_address},
      {"log_level", &config.log_level},
  };
  const NumberKey numbers[] = {
      {"keep_versions", 0, kMaxKeptVersions, &config.server.keep_versions},
      {"unused_blob_hours", kMinUnusedHours, kMaxUnusedHours, &config.server.unused_blob_hours},
      {"handshake_s", 1, kMaxHandshakeS, &config.server.handshake_s},
  };
  for (const auto& [name, node] : table) {
    const auto wrong = [&, &name = name](const std::string& why) {
      return absl::InvalidArgumentError(
          fmt::format("{}:{}: {}", origin, name.source().begin.line, why));
    };
    if (const TextKey* quoted = Find(texts, name.str()); quoted != nullptr) {
      const std::optional<std::string> value = node.value_exact<std::string>();
      if (!value.has_value()) return wrong(fmt::format("{} must be a text in quotes", name.str()));
      *quoted->value = *value;
    } else if (const NumberKey* number = Find(numbers, name.str()); number != nullptr) {
      const std::optional<int64_t> value = node.value_exact<int64_t>();
      if (!value.has_value() || *value < number->min || *value > number->max) {
        return wrong(fmt::format("{} must be a whole number from {} to {}", name.str(), number->min,
                                 number->max));
      }
      *number->value = static_cast<uint32_t>(*value);
    } else {
      return wrong(fmt::format("there is no setting \"{}\"", name.str()));
    }
  }
  return config;
}

}  // namespace choir::coordinator
