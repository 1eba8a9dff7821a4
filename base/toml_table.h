#ifndef CHOIR_BASE_TOML_TABLE_H_
#define CHOIR_BASE_TOML_TABLE_H_

// Settings in TOML, as people write them: each read with its limits, mistakes named with file and
// line, and a setting that nobody reads is a mistake, too.

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace choir {

// A parsed file. Movable; TomlTables look into it, so it must outlive them.
class TomlFile {
 public:
  // `source` is the file's name in messages. INVALID_ARGUMENT: no TOML, or a table that is not
  // among `tables`; the text lists them.
  static absl::StatusOr<TomlFile> Parse(std::string_view text, std::string_view source,
                                        std::initializer_list<std::string_view> tables);
  TomlFile(TomlFile&&) noexcept;
  TomlFile& operator=(TomlFile&&) noexcept;
  ~TomlFile();

 private:
  friend class TomlTable;
  struct Content;
  explicit TomlFile(std::unique_ptr<Content> content);
  std::unique_ptr<Content> content_;
};

// One [table] of a file; an absent one is empty. Read the settings, then ask Finish() for the first
// mistake. A setting that is absent, or wrong, reads as its fallback.
class TomlTable {
 public:
  TomlTable(const TomlFile& file, std::string_view name);
  TomlTable(TomlTable&&) noexcept;
  TomlTable& operator=(TomlTable&&) noexcept;
  ~TomlTable();

  [[nodiscard]] bool Has(std::string_view key) const;
  // A whole number in [least, most].
  uint64_t Count(std::string_view key, uint64_t least, uint64_t most, uint64_t fallback);
  uint32_t Count32(std::string_view key, uint32_t least, uint32_t most, uint32_t fallback);
  // A finite number in [least, most].
  double Number(std::string_view key, double least, double most, double fallback);
  std::string Text(std::string_view key, std::string_view fallback);
  // One of `words`; the first is the fallback.
  std::string OneOf(std::string_view key, std::initializer_list<std::string_view> words);
  bool Flag(std::string_view key, bool fallback);
  std::vector<std::string> List(std::string_view key);

  // Records a mistake that only the caller can see; the first one counts.
  void Fail(std::string_view key, std::string_view wanted);
  [[nodiscard]] absl::Status Finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace choir

#endif  // CHOIR_BASE_TOML_TABLE_H_
