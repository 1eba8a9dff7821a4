#include "base/toml_table.h"

#include <toml++/toml.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>

#include <fmt/format.h>

namespace choir {

struct TomlFile::Content {
  toml::table root;
  std::string source;
};

TomlFile::TomlFile(std::unique_ptr<Content> content) : content_(std::move(content)) {}
TomlFile::TomlFile(TomlFile&&) noexcept = default;
TomlFile& TomlFile::operator=(TomlFile&&) noexcept = default;
TomlFile::~TomlFile() = default;

absl::StatusOr<TomlFile> TomlFile::Parse(std::string_view text, std::string_view source,
                                         std::initializer_list<std::string_view> tables) {
  auto content = std::make_unique<Content>();
  content->source = std::string(source);
  try {
    content->root = toml::parse(text);
  } catch (const toml::parse_error& error) {
    return absl::InvalidArgumentError(fmt::format("{}:{}: {}", source, error.source().begin.line,
                                                  std::string(error.description())));
  }
  for (const auto& [key, value] : content->root) {
    if (std::find(tables.begin(), tables.end(), key.str()) == tables.end()) {
      return absl::InvalidArgumentError(
          fmt::format("{}:{}: there is no table [{}]; there are {}", source,
                      key.source().begin.line, std::string(key.str()), fmt::join(tables, ", ")));
    }
  }
  return TomlFile(std::move(content));
}

struct TomlTable::State {
  std::string name;
  std::string source;
  const toml::table* table = nullptr;
  std::set<std::string, std::less<>> known;
  absl::Status status;

  const toml::node* Find(std::string_view key) {
    known.emplace(key);
    return table == nullptr ? nullptr : table->get(key);
  }
};

TomlTable::TomlTable(const TomlFile& file, std::string_view name)
    : state_(std::make_unique<State>()) {
  state_->name = std::string(name);
  state_->source = file.content_->source;
  const toml::node* node = file.content_->root.get(name);
  if (node == nullptr) return;
  state_->table = node->as_table();
  if (state_->table == nullptr) {
    state_->status = absl::InvalidArgumentError(fmt::format(
        "{}:{}: {} must be a table: [{}]", state_->source, node->source().begin.line, name, name));
  }
}

TomlTable::TomlTable(TomlTable&&) noexcept = default;
TomlTable& TomlTable::operator=(TomlTable&&) noexcept = default;
TomlTable::~TomlTable() = default;

bool TomlTable::Has(std::string_view key) const {
  return state_->table != nullptr && state_->table->contains(key);
}

uint64_t TomlTable::Count(std::string_view key, uint64_t least, uint64_t most, uint64_t fallback) {
  const toml::node* node = state_->Find(key);
  if (node == nullptr) return fallback;
  const std::optional<int64_t> value = node->value_exact<int64_t>();
  if (!value.has_value() || *value < 0 || static_cast<uint64_t>(*value) < least ||
      static_cast<uint64_t>(*value) > most) {
    Fail(key, fmt::format("must be a whole number from {} to {}", least, most));
    return fallback;
  }
  return static_cast<uint64_t>(*value);
}

uint32_t TomlTable::Count32(std::string_view key, uint32_t least, uint32_t most,
                            uint32_t fallback) {
  return static_cast<uint32_t>(Count(key, least, most, fallback));
}

double TomlTable::Number(std::string_view key, double least, double most, double fallback) {
  const toml::node* node = state_->Find(key);
  if (node == nullptr) return fallback;
  const std::optional<double> value = node->value<double>();
  if (!value.has_value() || !std::isfinite(*value) || *value < least || *value > most) {
    Fail(key, fmt::format("must be a number from {} to {}", least, most));
    return fallback;
  }
  return *value;
}

std::string TomlTable::Text(std::string_view key, std::string_view fallback) {
  const toml::node* node = state_->Find(key);
  if (node == nullptr) return std::string(fallback);
  const std::optional<std::string> value = node->value_exact<std::string>();
  if (!value.has_value()) Fail(key, "must be a text in quotes");
  return value.value_or(std::string(fallback));
}

std::string TomlTable::OneOf(std::string_view key, std::initializer_list<std::string_view> words) {
  std::string value = Text(key, *words.begin());
  if (std::find(words.begin(), words.end(), value) == words.end()) {
    Fail(key, fmt::format("must be one of {}", fmt::join(words, ", ")));
    return std::string(*words.begin());
  }
  return value;
}

bool TomlTable::Flag(std::string_view key, bool fallback) {
  const toml::node* node = state_->Find(key);
  if (node == nullptr) return fallback;
  const std::optional<bool> value = node->value_exact<bool>();
  if (!value.has_value()) Fail(key, "must be true or false");
  return value.value_or(fallback);
}

std::vector<std::string> TomlTable::List(std::string_view key) {
  std::vector<std::string> out;
  const toml::node* node = state_->Find(key);
  if (node == nullptr) return out;
  const toml::array* list = node->as_array();
  if (list == nullptr) {
    Fail(key, "must be a list of texts");
    return out;
  }
  for (const toml::node& entry : *list) {
    const std::optional<std::string> text = entry.value_exact<std::string>();
    if (!text.has_value()) Fail(key, "must be a list of texts");
    out.push_back(text.value_or(""));
  }
  return out;
}

void TomlTable::Fail(std::string_view key, std::string_view wanted) {
  if (!state_->status.ok()) return;
  const toml::node* node = state_->table == nullptr ? nullptr : state_->table->get(key);
  const std::string line = node == nullptr ? "" : fmt::format(":{}", node->source().begin.line);
  state_->status = absl::InvalidArgumentError(
      fmt::format("{}{}: [{}] {} {}", state_->source, line, state_->name, key, wanted));
}

absl::Status TomlTable::Finish() {
  if (state_->table != nullptr) {
    for (const auto& [key, value] : *state_->table) {
      if (!state_->known.contains(key.str())) Fail(key.str(), "is no setting that exists");
    }
  }
  return state_->status;
}

}  // namespace choir
