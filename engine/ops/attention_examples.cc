#include "engine/ops/attention_examples.h"

#include <cmath>

#include "engine/ops/example_cases.h"

namespace choir::engine {
namespace {

struct HeadShape {
  int64_t heads;
  int64_t kv_heads;
  int64_t head_size;
};

AttentionExample Make(std::string name, HeadShape shape, std::vector<int32_t> segment_ids,
                      int64_t window, double softcap) {
  const auto tokens = static_cast<int64_t>(segment_ids.size());
  const double scale = 1 / std::sqrt(static_cast<double>(shape.head_size));
  return {.name = std::move(name),
          .q = F32(tokens, shape.heads * shape.head_size),
          .kv = F32(tokens, shape.kv_heads * shape.head_size),
          .lse = F32(tokens, shape.heads),
          .segment = I32(1, tokens),
          .attrs = {{"head_size", static_cast<double>(shape.head_size)},
                    {"scale", scale},
                    {"window", static_cast<double>(window)},
                    {"softcap", softcap}},
          .segment_ids = std::move(segment_ids)};
}

}  // namespace

std::vector<AttentionExample> AttentionExamples() {
  return {
      Make("one_token", {1, 1, 1}, {0}, 0, 0),
      Make("one_segment", {2, 2, 8}, SegmentRow({{0, 9}}), 0, 0),
      Make("grouped_queries", {6, 2, 5}, SegmentRow({{0, 13}}), 0, 0),
      Make("one_kv_head", {4, 1, 16}, SegmentRow({{0, 17}}), 0, 0),
      Make("segments_and_padding", {2, 1, 8}, SegmentRow({{0, 5}, {1, 1}, {2, 7}, {-1, 4}}), 0, 0),
      Make("window_of_one", {2, 2, 4}, SegmentRow({{0, 6}}), 1, 0),
      Make("window_in_segments", {4, 2, 8}, SegmentRow({{0, 11}, {1, 8}, {-1, 2}}), 3, 0),
      Make("softcap", {2, 1, 8}, SegmentRow({{0, 12}}), 0, 1.5),
      Make("softcap_and_window", {2, 2, 7}, SegmentRow({{3, 10}, {5, 3}}), 4, 2),
      Make("past_one_tile", {2, 1, 64}, SegmentRow({{0, 40}, {1, 31}}), 0, 0),
      Make("wide_head", {1, 1, 128}, SegmentRow({{0, 33}}), 0, 0),
  };
}

}  // namespace choir::engine
