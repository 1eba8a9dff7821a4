#include "engine/backend/cpu/attention_tiles.h"

// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/backend/cpu/attention_tiles.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "engine/backend/cpu/simd_loop-inl.h"
// clang-format on

#include <algorithm>

#include "base/status_macros.h"

HWY_BEFORE_NAMESPACE();
namespace choir::engine::HWY_NAMESPACE {

// A hidden pair's score; far below kNoMaximumYet, so that its exponential is 0 in every case.
constexpr float kHidden = -1e30F;

// Scales and caps one row of products in place; the pairs outside [begin, end), or of another
// segment, are hidden. Returns the maximum.
float ScoreRow(float* row, size_t n, float scale, float softcap) {
  const FloatTag d;
  const size_t lanes = hn::Lanes(d);
  const auto score = [=](auto tag, size_t i) HWY_ATTR {
    const auto s = hn::Mul(hn::LoadU(tag, row + i), hn::Set(tag, scale));
    if (softcap == 0) return s;
    return hn::Mul(hn::Set(tag, softcap), hn::Tanh(tag, hn::Mul(s, hn::Set(tag, 1.0F / softcap))));
  };
  auto max_vector = hn::Set(d, kHidden);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const auto s = score(d, i);
    max_vector = hn::Max(max_vector, s);
    hn::StoreU(s, d, row + i);
  }
  float max = hn::GetLane(hn::MaxOfLanes(d, max_vector));
  for (; i < n; ++i) {
    row[i] = hn::GetLane(score(SingleTag(), i));
    max = std::max(max, row[i]);
  }
  return max;
}

float RowMax(const float* row, size_t n) {
  float max = kHidden;
  for (size_t i = 0; i < n; ++i) max = std::max(max, row[i]);
  return max;
}

float ExpRow(float* row, size_t n, float max) {
  return SumOverVectors(n, [=](auto d, size_t i) HWY_ATTR {
    const auto p = hn::Exp(d, hn::Sub(hn::LoadU(d, row + i), hn::Set(d, max)));
    hn::StoreU(p, d, row + i);
    return p;
  });
}

// The columns of the keys that query `query` (a position) may see by position, within a tile.
struct Columns {
  int64_t begin;
  int64_t end;
};
HWY_INLINE Columns VisibleKeys(const Visibility& sees, const ScoreTile& tile, int64_t query) {
  const int64_t end = std::clamp<int64_t>(query + 1 - tile.key0, 0, tile.cols);
  const int64_t first = sees.window == 0 ? 0 : query - sees.window + 1;
  return {std::clamp<int64_t>(first - tile.key0, 0, end), end};
}

// The same for a transposed tile: the queries that see key `key`.
HWY_INLINE Columns VisibleQueries(const Visibility& sees, const ScoreTile& tile, int64_t key) {
  const int64_t query0 = sees.first_query + tile.query0;
  const int64_t begin = std::clamp<int64_t>(key - query0, 0, tile.cols);
  const int64_t last = sees.window == 0 ? query0 + tile.cols : key + sees.window;
  return {begin, std::clamp<int64_t>(last - query0, begin, tile.cols)};
}

HWY_INLINE void HideColumns(const Columns& visible, const int32_t* segments, int32_t segment,
                            int64_t cols, float hidden, float* row) {
  for (int64_t j = 0; j < visible.begin; ++j) row[j] = hidden;
  for (int64_t j = visible.end; j < cols; ++j) row[j] = hidden;
  if (segments == nullptr) return;
  for (int64_t j = visible.begin; j < visible.end; ++j) {
    row[j] = segments[j] == segment ? row[j] : hidden;
  }
}

void SoftmaxTile(const ScoreTile& tile, const AttentionShape& shape, const Visibility& sees,
                 const RunningSoftmax& state) {
  const auto cols = static_cast<size_t>(tile.cols);
  const auto head_size = static_cast<size_t>(shape.head_size);
  for (int64_t i = 0; i < tile.rows; ++i) {
    float* const row = tile.scores + i * tile.stride;
    float tile_max = ScoreRow(row, cols, shape.scale, shape.softcap);
    if (tile.masked) {
      const int64_t query = sees.first_query + tile.query0 + i;
      const int32_t* const segments = sees.segments;
      HideColumns(VisibleKeys(sees, tile, query),
                  segments == nullptr ? nullptr : segments + tile.key0,
                  segments == nullptr ? 0 : segments[query], tile.cols, kHidden, row);
      tile_max = RowMax(row, cols);
    }
    if (tile_max > state.max[i]) {
      const float factor = std::exp(state.max[i] - tile_max);
      state.max[i] = tile_max;
      state.sum[i] *= factor;
      float* const out = state.out + i * shape.head_size;
      ForEachVector(head_size, [=](auto d, size_t c) HWY_ATTR {
        hn::StoreU(hn::Mul(hn::LoadU(d, out + c), hn::Set(d, factor)), d, out + c);
      });
    }
    state.sum[i] += ExpRow(row, cols, state.max[i]);
  }
}

// One row of a gradient tile. lse and delta are one value for the row, or one a column.
template <bool kPerColumn>
HWY_INLINE void GradientRow(float* scores, float* gradient, const float* lse, const float* delta,
                            size_t n, float scale, float softcap) {
  ForEachVector(n, [=](auto d, size_t j) HWY_ATTR {
    const auto lse_j = kPerColumn ? hn::LoadU(d, lse + j) : hn::Set(d, *lse);
    const auto delta_j = kPerColumn ? hn::LoadU(d, delta + j) : hn::Set(d, *delta);
    auto score = hn::Mul(hn::LoadU(d, scores + j), hn::Set(d, scale));
    auto slope = hn::Set(d, scale);
    if (softcap != 0) {
      const auto ratio = hn::Tanh(d, hn::Mul(score, hn::Set(d, 1.0F / softcap)));
      score = hn::Mul(hn::Set(d, softcap), ratio);
      slope = hn::Mul(slope, hn::NegMulAdd(ratio, ratio, hn::Set(d, 1.0F)));
    }
    const auto p = hn::Exp(d, hn::Sub(score, lse_j));
    const auto dp = hn::Sub(hn::LoadU(d, gradient + j), delta_j);
    hn::StoreU(p, d, scores + j);
    hn::StoreU(hn::Mul(hn::Mul(p, dp), slope), d, gradient + j);
  });
}

void BackwardTile(const ScoreTile& tile, const AttentionShape& shape, const Visibility& sees,
                  const TileGradient& g) {
  const auto cols = static_cast<size_t>(tile.cols);
  const int64_t query0 = sees.first_query + tile.query0;
  for (int64_t i = 0; i < tile.rows; ++i) {
    float* const scores = tile.scores + i * tile.stride;
    float* const gradient = g.gradient + i * tile.stride;
    if (g.rows_are_keys) {
      GradientRow<true>(scores, gradient, g.lse, g.delta, cols, shape.scale, shape.softcap);
    } else {
      GradientRow<false>(scores, gradient, g.lse + i, g.delta + i, cols, shape.scale,
                         shape.softcap);
    }
    if (!tile.masked) continue;
    const int64_t row = g.rows_are_keys ? tile.key0 + i : query0 + i;
    const int64_t col0 = g.rows_are_keys ? query0 : tile.key0;
    const Columns visible =
        g.rows_are_keys ? VisibleQueries(sees, tile, row) : VisibleKeys(sees, tile, row);
    const int32_t* const segments = sees.segments == nullptr ? nullptr : sees.segments + col0;
    const int32_t segment = sees.segments == nullptr ? 0 : sees.segments[row];
    HideColumns(visible, segments, segment, tile.cols, 0, scores);
    HideColumns(visible, segments, segment, tile.cols, 0, gradient);
  }
}

}  // namespace choir::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace choir::engine {

HWY_EXPORT(SoftmaxTile);
HWY_EXPORT(BackwardTile);

AttentionShape::AttentionShape(const Attrs& attrs, const Shape& q, const Shape& k)
    : queries(q.rows),
      keys(k.rows),
      heads(q.cols / attrs.Int("head_size")),
      kv_heads(k.cols / attrs.Int("head_size")),
      head_size(attrs.Int("head_size")),
      window(attrs.Int("window")),
      scale(static_cast<float>(attrs.Float("scale"))),
      softcap(static_cast<float>(attrs.Float("softcap"))) {}

Visibility::Tile Visibility::Classify(int64_t query0, int64_t num_queries, int64_t key0,
                                      int64_t num_keys) const {
  const int64_t first = first_query + query0;
  const int64_t last = first + num_queries - 1;
  if (key0 > last) return Tile::kHidden;
  if (window != 0 && key0 + num_keys - 1 + window <= first) return Tile::kHidden;
  bool full = key0 + num_keys - 1 <= first && (window == 0 || last - key0 < window);
  if (segments != nullptr) {
    const auto [query_min, query_max] = std::minmax_element(segments + first, segments + last + 1);
    const auto [key_min, key_max] =
        std::minmax_element(segments + key0, segments + key0 + num_keys);
    if (*query_max < *key_min || *key_max < *query_min) return Tile::kHidden;
    full = full && *query_min == *query_max && *key_min == *key_max && *query_min == *key_min;
  }
  return full ? Tile::kFull : Tile::kPartial;
}

void UpdateSoftmaxTile(const ScoreTile& tile, const AttentionShape& shape, const Visibility& sees,
                       const RunningSoftmax& state) {
  HWY_DYNAMIC_DISPATCH(SoftmaxTile)(tile, shape, sees, state);
}

void GradientTile(const ScoreTile& tile, const AttentionShape& shape, const Visibility& sees,
                  const TileGradient& gradient) {
  HWY_DYNAMIC_DISPATCH(BackwardTile)(tile, shape, sees, gradient);
}

absl::StatusOr<TileGemms> TileGemms::Create(GemmLibrary& library, GemmShape shape, Extent rows,
                                            int64_t GemmShape::*row_field, Extent cols,
                                            int64_t GemmShape::*col_field) {
  TileGemms result;
  result.full_rows_ = rows.full;
  result.full_cols_ = cols.full;
  for (const bool last_row : {false, true}) {
    for (const bool last_col : {false, true}) {
      shape.*row_field = last_row ? rows.last : rows.full;
      shape.*col_field = last_col ? cols.last : cols.full;
      CHOIR_ASSIGN_OR_RETURN(result.gemms_[last_row][last_col], library.Get(shape));
    }
  }
  return result;
}

}  // namespace choir::engine
#endif  // HWY_ONCE
