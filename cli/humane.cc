#include "cli/humane.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <system_error>

#include <fmt/format.h>

#include "base/check.h"

namespace choir::cli {
namespace {

// A number, perhaps with a unit behind it; not a date, and not an id that begins with a digit.
bool LooksNumeric(std::string_view cell) {
  if (cell.starts_with('-') || cell.starts_with('+')) cell.remove_prefix(1);
  if (cell.empty() || std::isdigit(static_cast<unsigned char>(cell.front())) == 0) return false;
  const size_t end = cell.find_first_not_of("0123456789.,/:");
  if (end == std::string_view::npos || cell[end] == ' ' || cell[end] == '%') return true;
  const std::string_view exponent = cell.substr(end);
  return exponent.starts_with("e-") || exponent.starts_with("e+");
}

void AppendCell(std::string& line, std::string_view cell, size_t width, bool right) {
  const std::string padding(width - DisplayWidth(cell), ' ');
  line += right ? padding : "";
  line += cell;
  line += right ? "" : padding;
}

}  // namespace

std::string HumaneBytes(uint64_t bytes) {
  constexpr std::array<const char*, 5> kUnits = {"KiB", "MiB", "GiB", "TiB", "PiB"};
  if (bytes < 1024) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  // 1023.95 would print as "1024.0".
  while (value >= 1023.95 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  return fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::optional<uint64_t> ParseBytes(std::string_view text) {
  double value = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || !(value >= 0)) return std::nullopt;
  std::string unit(rest, end);
  std::erase(unit, ' ');
  for (char& c : unit) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  constexpr std::string_view kLetters = "kmgt";
  double factor = 1;
  if (!unit.empty() && unit != "b") {
    const size_t power = kLetters.find(unit[0]);
    const std::string_view tail = std::string_view(unit).substr(1);
    if (power == std::string_view::npos || !(tail.empty() || tail == "b" || tail == "ib")) {
      return std::nullopt;
    }
    factor = std::pow(1024.0, static_cast<double>(power + 1));
  }
  constexpr double kTooMany = 18446744073709551616.0;  // 2^64
  if (value * factor >= kTooMany) return std::nullopt;
  return static_cast<uint64_t>(value * factor);
}

std::string HumaneDuration(absl::Duration duration) {
  if (duration < absl::ZeroDuration() || duration == absl::InfiniteDuration()) return "?";
  if (duration < absl::Milliseconds(9950)) {
    return fmt::format("{:.1f} s", absl::ToDoubleSeconds(duration));
  }
  const int64_t seconds = absl::ToInt64Seconds(duration + absl::Milliseconds(500));
  if (seconds < 60) return fmt::format("{} s", seconds);
  if (seconds < 3600) return fmt::format("{}:{:02}", seconds / 60, seconds % 60);
  return fmt::format("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
}

std::string HumaneCount(int64_t count) {
  const std::string digits = std::to_string(count);
  const size_t first = count < 0 ? 1 : 0;
  std::string text;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > first && (digits.size() - i) % 3 == 0) text += ',';
    text += digits[i];
  }
  return text;
}

std::string HumaneRate(double per_second) {
  if (!std::isfinite(per_second) || per_second < 0) return "?";
  if (per_second >= 99.95) return HumaneCount(std::llround(per_second));
  if (per_second >= 9.995) return fmt::format("{:.1f}", per_second);
  return fmt::format("{:.3g}", per_second);
}

size_t DisplayWidth(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0u) != 0x80u;
  }));
}

void TextTable::AddRow(std::vector<std::string> cells) {
  CHOIR_CHECK(cells.size() <= headings_.size());
  cells.resize(headings_.size());
  rows_.push_back(std::move(cells));
}

std::string TextTable::Render() const {
  std::vector<size_t> widths;
  std::vector<bool> numeric;
  for (size_t c = 0; c < headings_.size(); ++c) {
    size_t width = DisplayWidth(headings_[c]);
    bool all_numeric = !rows_.empty();
    for (const auto& row : rows_) {
      width = std::max(width, DisplayWidth(row[c]));
      all_numeric = all_numeric && (row[c].empty() || LooksNumeric(row[c]));
    }
    widths.push_back(width);
    numeric.push_back(all_numeric);
  }
  std::string text;
  const auto append_row = [&](const std::vector<std::string>& row) {
    std::string line;
    for (size_t c = 0; c < row.size(); ++c) {
      if (c > 0) line += "  ";
      AppendCell(line, row[c], widths[c], numeric[c]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    if (!text.empty()) text += '\n';
    text += line;
  };
  append_row(headings_);
  for (const auto& row : rows_) append_row(row);
  return text;
}

}  // namespace choir::cli
