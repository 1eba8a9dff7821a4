#ifndef CHOIR_ENGINE_BACKEND_CPU_ATTENTION_TILES_H_
#define CHOIR_ENGINE_BACKEND_CPU_ATTENTION_TILES_H_

// Attention works on tiles of scores, queries by keys, that fit a core's cache. Here: which tiles
// there are, which of them hold nothing, and the arithmetic within one.

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"

#include "engine/backend/cpu/cpu_kernel.h"

namespace choir::engine {

// Rows and columns of a tile. At head size 64 the tile, its operands and its result take 80 KiB:
// they fit the second-level cache of every CPU in use.
inline constexpr int64_t kAttentionTile = 64;

// What the ops' attributes and shapes say.
struct AttentionShape {
  int64_t queries = 0;
  int64_t keys = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_size = 0;
  int64_t window = 0;  // 0: none
  float scale = 1;
  float softcap = 0;  // 0: none

  AttentionShape(const Attrs& attrs, const Shape& q, const Shape& k);
  [[nodiscard]] int64_t q_stride() const { return heads * head_size; }
  [[nodiscard]] int64_t kv_stride() const { return kv_heads * head_size; }
  [[nodiscard]] int64_t group() const { return heads / kv_heads; }
  [[nodiscard]] int64_t query_tiles() const { return Tiles(queries); }
  [[nodiscard]] int64_t key_tiles() const { return Tiles(keys); }
  static int64_t Tiles(int64_t rows) { return (rows + kAttentionTile - 1) / kAttentionTile; }
};

inline int64_t TileRows(int64_t tile, int64_t rows) {
  return std::min(kAttentionTile, rows - tile * kAttentionTile);
}

// Which queries see which keys. `segments` may be null: all are one.
struct Visibility {
  int64_t first_query = 0;  // the position of query row 0 among the keys
  int64_t window = 0;
  const int32_t* segments = nullptr;

  enum class Tile : uint8_t { kHidden, kPartial, kFull };
  // `query0` counts query rows, `key0` keys.
  [[nodiscard]] Tile Classify(int64_t query0, int64_t num_queries, int64_t key0,
                              int64_t num_keys) const;
};

// One tile of scores in memory, and its place.
struct ScoreTile {
  float* scores = nullptr;  // rows `stride` apart
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = kAttentionTile;
  int64_t query0 = 0;
  int64_t key0 = 0;
  bool masked = false;  // some pairs do not see each other
};

// Forward, rows are queries: turns products q.k into softmax numerators under the rows' running
// maxima, and scales `sum` and the rows of `out` (head_size wide) to a new maximum.
struct RunningSoftmax {
  float* max = nullptr;  // (rows)
  float* sum = nullptr;  // (rows)
  float* out = nullptr;  // (rows, head_size)
};
inline constexpr float kNoMaximumYet = -1e20F;
void UpdateSoftmaxTile(const ScoreTile& tile, const AttentionShape& shape, const Visibility& sees,
                       const RunningSoftmax& state);

// Backward: scores become probabilities p = exp(s - lse), and `gradient` (the same layout, holding
// dp = do.v) becomes d(q.k) = p (dp - delta) slope scale. lse and delta belong to queries.
struct TileGradient {
  float* gradient = nullptr;
  const float* lse = nullptr;
  const float* delta = nullptr;
  bool rows_are_keys = false;  // the tile is transposed: rows are keys, columns queries
};
void GradientTile(const ScoreTile& tile, const AttentionShape& shape, const Visibility& sees,
                  const TileGradient& gradient);

// Products of one kind for tiles of all sizes that occur: full ones, and those at the end.
class TileGemms {
 public:
  // The extent that varies with the tile's rows or columns: how many of each a full tile has, and a
  // last one.
  struct Extent {
    int64_t full = 0;
    int64_t last = 0;
    static Extent Of(int64_t rows) {
      return {std::min(rows, kAttentionTile), (rows - 1) % kAttentionTile + 1};
    }
  };
  static absl::StatusOr<TileGemms> Create(GemmLibrary& library, GemmShape shape, Extent rows,
                                          int64_t GemmShape::*row_field, Extent cols,
                                          int64_t GemmShape::*col_field);
  [[nodiscard]] const Gemm& For(int64_t rows, int64_t cols) const {
    return *gemms_[rows != full_rows_][cols != full_cols_];
  }

 private:
  int64_t full_rows_ = 0;
  int64_t full_cols_ = 0;
  const Gemm* gemms_[2][2] = {};
};

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_BACKEND_CPU_ATTENTION_TILES_H_
