#include "coordinator/config.h"

#include <toml++/toml.h>

#include <algorithm>
#include <iterator>
#include <optional>

#include <fmt/format.h>

#include "base/status_macros.h"

namespace choir::coordinator {
namespace {

struct Key {
  std::string_view name;
  std::string* value;
};

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
  const Key keys[] = {
      {"data", &config.server.data},
      {"listen", &config.server.listen},
      {"enrol_listen", &config.server.enrol_listen},
      {"public_address", &config.server.public_address},
      {"enrol_public_address", &config.server.enrol_public_address},
      {"log_level", &config.log_level},
  };
  for (const auto& [name, node] : table) {
    const Key* key = std::find_if(std::begin(keys), std::end(keys),
                                  [&name = name](const Key& k) { return k.name == name.str(); });
    const auto line = name.source().begin.line;
    if (key == std::end(keys)) {
      return absl::InvalidArgumentError(
          fmt::format("{}:{}: there is no setting \"{}\"", origin, line, name.str()));
    }
    const std::optional<std::string> value = node.value_exact<std::string>();
    if (!value.has_value()) {
      return absl::InvalidArgumentError(
          fmt::format("{}:{}: {} must be a text in quotes", origin, line, name.str()));
    }
    *key->value = *value;
  }
  return config;
}

}  // namespace choir::coordinator
