#include <algorithm>
#include <cmath>

#include "engine/ops/attention_rules.h"
#include "engine/ops/schemas.h"
#include "engine/quant/weight_format.h"

namespace choir::engine {
namespace {

absl::StatusOr<std::vector<TensorDesc>> Infer(std::span<const TensorDesc> inputs,
                                              std::span<const TensorDesc> updates,
                                              const Attrs& attrs) {
  CallCheck check("cached_attention", inputs, updates, attrs);
  check.Counts(4, 0);
  const int64_t cache_rows = check.rows(1);
  const int64_t kv_cols = check.cols(1);
  check.IsF32(0, "q", kAnyExtent, kAnyExtent);
  check.IsCache(1, "k_cache", cache_rows, kv_cols);
  check.IsCache(2, "v_cache", cache_rows, kv_cols);
  check.IsI32(3, "start", 1, 1);
  check.Require(check.rows(0) <= cache_rows, "more query rows than the cache has");
  CheckAttentionHeads(check, check.cols(0), kv_cols);
  return check.Outputs({F32(check.rows(0), check.cols(0))});
}

// One query row of one head, at `position` in the cache.
void AttendRow(const RefCall& call, const AttentionAttrs& attrs, int64_t row, int64_t head,
               int64_t kv_head) {
  const int64_t position = call.inputs[3].ints[0] + row;
  const int64_t first = attrs.window == 0 ? 0 : std::max<int64_t>(0, position - attrs.window + 1);
  std::vector<double> scores;
  for (int64_t j = first; j <= position; ++j) {
    scores.push_back(AttentionScore(attrs, call.inputs[0], call.inputs[1], row, j, head, kv_head));
  }
  const double max = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  for (double& score : scores) sum += (score = std::exp(score - max));
  for (int64_t j = first; j <= position; ++j) {
    const double p = scores[static_cast<size_t>(j - first)] / sum;
    for (int64_t d = 0; d < attrs.head_size; ++d) {
      call.outputs[0].at(row, head * attrs.head_size + d) +=
          p * call.inputs[2].at(j, kv_head * attrs.head_size + d);
    }
  }
}

void Reference(const RefCall& call) {
  const AttentionAttrs attrs(call.attrs);
  const int64_t heads = call.inputs[0].shape.cols / attrs.head_size;
  const int64_t group = call.inputs[0].shape.cols / call.inputs[1].shape.cols;
  for (int64_t row = 0; row < call.inputs[0].shape.rows; ++row) {
    for (int64_t head = 0; head < heads; ++head) AttendRow(call, attrs, row, head, head / group);
  }
}

struct CacheShape {
  int64_t tokens;
  int64_t heads;
  int64_t kv_heads;
  int64_t head_size;
  int64_t cache_rows;
};

OpExample Make(std::string name, CacheShape shape, int32_t start, double window, double softcap,
               const WeightFormat* format = nullptr) {
  const int64_t kv_cols = shape.kv_heads * shape.head_size;
  const TensorDesc cache = format == nullptr ? F32(shape.cache_rows, kv_cols)
                                             : Weight(format, shape.cache_rows, kv_cols);
  return {.name = std::move(name),
          .inputs = {F32(shape.tokens, shape.heads * shape.head_size), cache, cache, I32(1, 1)},
          .updates = {},
          .attrs = {{"head_size", static_cast<double>(shape.head_size)},
                    {"scale", 1 / std::sqrt(static_cast<double>(shape.head_size))},
                    {"window", window},
                    {"softcap", softcap}},
          .ints = {{start}}};
}

std::vector<OpExample> Examples() {
  return {
      Make("first_token", {1, 1, 1, 4, 1}, 0, 0, 0),
      Make("prompt", {7, 4, 2, 8, 16}, 0, 0, 0),
      Make("prompt_after_prompt", {5, 4, 2, 8, 16}, 6, 0, 0),
      Make("decode", {1, 6, 2, 5, 33}, 20, 0, 0),
      Make("decode_into_last_row", {1, 2, 1, 64, 70}, 69, 0, 0),
      Make("window", {3, 2, 2, 8, 24}, 12, 5, 0),
      Make("softcap", {2, 2, 1, 7, 9}, 4, 0, 1.5),
      Make("long_prompt", {70, 2, 1, 32, 140}, 66, 0, 0),
      Make("f16_prompt", {70, 4, 2, 16, 140}, 66, 0, 0, &kF16Format),
      Make("f16_odd_columns", {3, 3, 3, 5, 9}, 4, 0, 0, &kF16Format),
      Make("f16_decode", {1, 4, 2, 64, 140}, 130, 0, 0, &kF16Format),
      Make("f16_window", {3, 2, 2, 8, 100}, 80, 5, 1.5, &kF16Format),
      Make("q8_0_prompt", {70, 4, 2, 32, 140}, 66, 0, 0, &kQ8_0Format),
      // Heads that begin and end within a block.
      Make("q8_0_small_heads", {3, 8, 4, 8, 16}, 6, 0, 0, &kQ8_0Format),
      Make("q8_0_decode", {1, 4, 2, 64, 140}, 130, 0, 0, &kQ8_0Format),
      Make("q8_0_odd_heads", {1, 4, 4, 24, 70}, 69, 7, 0, &kQ8_0Format),
  };
}

}  // namespace

const OpSchema kCachedAttentionSchema = {"cached_attention", Infer, Reference, nullptr, Examples};

}  // namespace choir::engine
