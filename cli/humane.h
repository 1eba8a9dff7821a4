#ifndef CHOIR_CLI_HUMANE_H_
#define CHOIR_CLI_HUMANE_H_

// Numbers as people read them. For programs there is --json.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"

namespace choir::cli {

// "512 B", "1.5 KiB", "24.0 MiB".
std::string HumaneBytes(uint64_t bytes);
// The inverse: "800MiB", "1.5 GiB", "2g" (1024-based all of them), "4096". Nothing for anything
// else, or for more than 64 bits hold.
std::optional<uint64_t> ParseBytes(std::string_view text);
// "0.4 s", "42 s", "1:05", "2:03:04"; "?" for an infinite or negative one.
std::string HumaneDuration(absl::Duration duration);
// "1,234,567".
std::string HumaneCount(int64_t count);
// Three significant digits: "0.513", "8.04", "1,240".
std::string HumaneRate(double per_second);

// Rows under headings, each column as wide as its widest cell; numbers (cells that begin with a
// digit or a sign) are aligned to the right. Widths count characters, not bytes. No trailing
// spaces.
class TextTable {
 public:
  explicit TextTable(std::vector<std::string> headings) : headings_(std::move(headings)) {}
  // Missing cells are empty; more cells than headings are a bug.
  void AddRow(std::vector<std::string> cells);
  // Lines without the last line end.
  [[nodiscard]] std::string Render() const;

 private:
  std::vector<std::string> headings_;
  std::vector<std::vector<std::string>> rows_;
};

// Characters of UTF-8 text, taking every code point as one column.
size_t DisplayWidth(std::string_view text);

}  // namespace choir::cli

#endif  // CHOIR_CLI_HUMANE_H_
