#ifndef CHOIR_ENGINE_OPS_EXAMPLE_CASES_H_
#define CHOIR_ENGINE_OPS_EXAMPLE_CASES_H_

// Building blocks of the ops' example cases: integer rows, and formats with their row lengths.

#include <cstdint>
#include <utility>
#include <vector>

#include "engine/quant/weight_format.h"

namespace choir::engine {

// Segment ids of a packed row: {{0, 5}, {1, 3}, {-1, 2}} is five 0s, three 1s, two of padding.
std::vector<int32_t> SegmentRow(const std::vector<std::pair<int32_t, int64_t>>& runs);

// first, first + 1, ...: positions.
std::vector<int32_t> CountingRow(int32_t first, int64_t count);

// `count` numbers in [0, bound), spread, with repeats: token ids, targets, row numbers.
std::vector<int32_t> ScatteredRow(int64_t count, int64_t bound);

// A format and a row length that is valid for it, of about `wanted` elements: exactly that many
// where a block is one element, else whole blocks.
struct FormatRow {
  const WeightFormat* format;
  int64_t cols;
};

// One for every format that can be written, so that a new format is tested by itself.
std::vector<FormatRow> FormatRows(int64_t wanted);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_OPS_EXAMPLE_CASES_H_
