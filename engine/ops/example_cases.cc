#include "engine/ops/example_cases.h"

#include <numeric>

namespace choir::engine {

std::vector<int32_t> SegmentRow(const std::vector<std::pair<int32_t, int64_t>>& runs) {
  std::vector<int32_t> row;
  for (const auto& [segment, count] : runs) {
    row.insert(row.end(), static_cast<size_t>(count), segment);
  }
  return row;
}

std::vector<int32_t> CountingRow(int32_t first, int64_t count) {
  std::vector<int32_t> row(static_cast<size_t>(count));
  std::iota(row.begin(), row.end(), first);
  return row;
}

std::vector<int32_t> ScatteredRow(int64_t count, int64_t bound) {
  std::vector<int32_t> row(static_cast<size_t>(count));
  for (size_t i = 0; i < row.size(); ++i) {
    // Multiples of a prime visit the whole range; the last number of the range comes first.
    const int64_t value = bound - 1 + static_cast<int64_t>(i) * 7919;
    row[i] = static_cast<int32_t>(value % bound);
  }
  return row;
}

std::vector<FormatRow> FormatRows(int64_t wanted) {
  std::vector<FormatRow> rows;
  for (const WeightFormat* format : AllWeightFormats()) {
    if (format->quantize_row == nullptr) continue;
    const auto block = static_cast<int64_t>(format->block_elements);
    rows.push_back({format, (wanted + block - 1) / block * block});
  }
  return rows;
}

}  // namespace choir::engine
