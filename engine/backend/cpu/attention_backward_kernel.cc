// attention_backward: recomputes the probabilities of each tile from lse (Dao et al. 2022,
// algorithm 4) in two passes, so that every sum has one owner: dq by tiles of queries, then dk and
// dv by tiles of keys.

#include "base/status_macros.h"
#include "engine/backend/cpu/attention_tiles.h"
#include "engine/backend/cpu/kernel_table.h"
#include "engine/backend/cpu/vector_math.h"

namespace choir::engine {
namespace {

class AttentionGradient {
 public:
  static absl::StatusOr<std::shared_ptr<AttentionGradient>> Create(const CpuCall& call,
                                                                   CpuCompiler& compiler);
  void Run(CpuRun& run) const;

 private:
  AttentionGradient(const CpuCall& call, CpuCompiler& compiler);
  absl::Status MakeProducts(GemmLibrary& gemms);
  void PrepareQueries(CpuRun& run) const;
  void QueryTile(int64_t query_tile, int64_t head, int worker, CpuRun& run) const;
  void KeyTile(int64_t key_tile, int64_t kv_head, int worker, CpuRun& run) const;
  void AddToKeyTile(const ScoreTile& tile, int64_t head, int worker, CpuRun& run) const;

  [[nodiscard]] int64_t QueryAt(int64_t query, int64_t head) const {
    return query * shape_.q_stride() + head * shape_.head_size;
  }
  [[nodiscard]] int64_t KeyAt(int64_t key, int64_t kv_head) const {
    return key * shape_.kv_stride() + kv_head * shape_.head_size;
  }

  AttentionShape shape_;
  Visibility sees_;
  const float *dout_, *q_, *k_, *v_, *out_, *lse_;
  float *dq_, *dk_, *dv_;
  TileGemms by_query_;                         // (queries, keys) = q k^T, and do v^T
  TileGemms by_key_;                           // (keys, queries) = k q^T, and v do^T
  TileGemms add_to_query_;                     // (queries, head_size) += ds k
  TileGemms add_to_key_;                       // (keys, head_size) += ds^T q, and p^T do
  SharedScratch lse_by_head_, delta_by_head_;  // (H, T): a tile's queries side by side
  WorkerScratch scores_, gradient_;
};

AttentionGradient::AttentionGradient(const CpuCall& call, CpuCompiler& compiler)
    : shape_(call.attrs, call.inputs[1].desc.shape, call.inputs[2].desc.shape),
      sees_{.window = shape_.window, .segments = call.inputs[6].i32()},
      dout_(call.inputs[0].f32()),
      q_(call.inputs[1].f32()),
      k_(call.inputs[2].f32()),
      v_(call.inputs[3].f32()),
      out_(call.inputs[4].f32()),
      lse_(call.inputs[5].f32()),
      dq_(call.outputs[0].f32()),
      dk_(call.outputs[1].f32()),
      dv_(call.outputs[2].f32()),
      lse_by_head_(compiler.ReserveShared(shape_.heads * shape_.queries * 4)),
      delta_by_head_(compiler.ReserveShared(shape_.heads * shape_.queries * 4)),
      scores_(compiler.ReservePerWorker(kAttentionTile * kAttentionTile * 4)),
      gradient_(compiler.ReservePerWorker(kAttentionTile * kAttentionTile * 4)) {}

absl::Status AttentionGradient::MakeProducts(GemmLibrary& gemms) {
  const auto tokens = TileGemms::Extent::Of(shape_.queries);
  GemmShape scores{.k = shape_.head_size,
                   .lda = shape_.q_stride(),
                   .ldb = shape_.kv_stride(),
                   .ldc = kAttentionTile,
                   .transpose_b = true};
  CHOIR_ASSIGN_OR_RETURN(
      by_query_, TileGemms::Create(gemms, scores, tokens, &GemmShape::m, tokens, &GemmShape::n));
  std::swap(scores.lda, scores.ldb);
  CHOIR_ASSIGN_OR_RETURN(
      by_key_, TileGemms::Create(gemms, scores, tokens, &GemmShape::m, tokens, &GemmShape::n));
  GemmShape sums{.n = shape_.head_size,
                 .lda = kAttentionTile,
                 .ldb = shape_.kv_stride(),
                 .ldc = shape_.q_stride(),
                 .accumulate = true};
  CHOIR_ASSIGN_OR_RETURN(
      add_to_query_, TileGemms::Create(gemms, sums, tokens, &GemmShape::m, tokens, &GemmShape::k));
  std::swap(sums.ldb, sums.ldc);
  CHOIR_ASSIGN_OR_RETURN(
      add_to_key_, TileGemms::Create(gemms, sums, tokens, &GemmShape::m, tokens, &GemmShape::k));
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<AttentionGradient>> AttentionGradient::Create(
    const CpuCall& call, CpuCompiler& compiler) {
  std::shared_ptr<AttentionGradient> kernel(new AttentionGradient(call, compiler));
  CHOIR_RETURN_IF_ERROR(kernel->MakeProducts(compiler.gemms()));
  return kernel;
}

// delta = do . o for each query and head, and lse, with the queries of a head side by side; and
// zeros where sums will grow.
void AttentionGradient::PrepareQueries(CpuRun& run) const {
  auto* const lse = run.Get<float>(lse_by_head_);
  auto* const delta = run.Get<float>(delta_by_head_);
  run.ParallelRanges(shape_.queries, 16, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      for (int64_t head = 0; head < shape_.heads; ++head) {
        const int64_t at = QueryAt(t, head);
        lse[head * shape_.queries + t] = lse_[t * shape_.heads + head];
        delta[head * shape_.queries + t] =
            DotProduct(dout_ + at, out_ + at, static_cast<size_t>(shape_.head_size));
      }
    }
    std::fill(dq_ + begin * shape_.q_stride(), dq_ + end * shape_.q_stride(), 0.0F);
    std::fill(dk_ + begin * shape_.kv_stride(), dk_ + end * shape_.kv_stride(), 0.0F);
    std::fill(dv_ + begin * shape_.kv_stride(), dv_ + end * shape_.kv_stride(), 0.0F);
  });
}

void AttentionGradient::QueryTile(int64_t query_tile, int64_t head, int worker, CpuRun& run) const {
  ScoreTile tile{.scores = run.Get<float>(scores_, worker),
                 .rows = TileRows(query_tile, shape_.queries),
                 .query0 = query_tile * kAttentionTile};
  const int64_t query_at = QueryAt(tile.query0, head);
  const int64_t head_row = head * shape_.queries + tile.query0;
  const TileGradient gradient{.gradient = run.Get<float>(gradient_, worker),
                              .lse = run.Get<float>(lse_by_head_) + head_row,
                              .delta = run.Get<float>(delta_by_head_) + head_row};
  for (int64_t key_tile = 0; key_tile < shape_.key_tiles(); ++key_tile) {
    tile.key0 = key_tile * kAttentionTile;
    tile.cols = TileRows(key_tile, shape_.keys);
    const auto kind = sees_.Classify(tile.query0, tile.rows, tile.key0, tile.cols);
    if (kind == Visibility::Tile::kHidden) continue;
    tile.masked = kind == Visibility::Tile::kPartial;
    const int64_t key_at = KeyAt(tile.key0, head / shape_.group());
    const Gemm& product = by_query_.For(tile.rows, tile.cols);
    product.Run(worker, q_ + query_at, k_ + key_at, tile.scores);
    product.Run(worker, dout_ + query_at, v_ + key_at, gradient.gradient);
    GradientTile(tile, shape_, sees_, gradient);
    add_to_query_.For(tile.rows, tile.cols)
        .Run(worker, gradient.gradient, k_ + key_at, dq_ + query_at);
  }
}

void AttentionGradient::AddToKeyTile(const ScoreTile& tile, int64_t head, int worker,
                                     CpuRun& run) const {
  const int64_t query_at = QueryAt(tile.query0, head);
  const int64_t key_at = KeyAt(tile.key0, head / shape_.group());
  const int64_t head_row = head * shape_.queries + tile.query0;
  const TileGradient gradient{.gradient = run.Get<float>(gradient_, worker),
                              .lse = run.Get<float>(lse_by_head_) + head_row,
                              .delta = run.Get<float>(delta_by_head_) + head_row,
                              .rows_are_keys = true};
  const Gemm& product = by_key_.For(tile.rows, tile.cols);
  product.Run(worker, k_ + key_at, q_ + query_at, tile.scores);
  product.Run(worker, v_ + key_at, dout_ + query_at, gradient.gradient);
  GradientTile(tile, shape_, sees_, gradient);
  const Gemm& sum = add_to_key_.For(tile.rows, tile.cols);
  sum.Run(worker, tile.scores, dout_ + query_at, dv_ + key_at);
  sum.Run(worker, gradient.gradient, q_ + query_at, dk_ + key_at);
}

void AttentionGradient::KeyTile(int64_t key_tile, int64_t kv_head, int worker, CpuRun& run) const {
  ScoreTile tile{.scores = run.Get<float>(scores_, worker),
                 .rows = TileRows(key_tile, shape_.keys),
                 .key0 = key_tile * kAttentionTile};
  for (int64_t query_tile = key_tile; query_tile < shape_.query_tiles(); ++query_tile) {
    tile.query0 = query_tile * kAttentionTile;
    tile.cols = TileRows(query_tile, shape_.queries);
    const auto kind = sees_.Classify(tile.query0, tile.cols, tile.key0, tile.rows);
    if (kind == Visibility::Tile::kHidden) continue;
    tile.masked = kind == Visibility::Tile::kPartial;
    for (int64_t i = 0; i < shape_.group(); ++i) {
      AddToKeyTile(tile, kv_head * shape_.group() + i, worker, run);
    }
  }
}

void AttentionGradient::Run(CpuRun& run) const {
  PrepareQueries(run);
  // Longest rows of tiles first, so that no thread ends late.
  run.ParallelFor(shape_.query_tiles() * shape_.heads, [&](int64_t task, int worker) {
    QueryTile(shape_.query_tiles() - 1 - task / shape_.heads, task % shape_.heads, worker, run);
  });
  run.ParallelFor(shape_.key_tiles() * shape_.kv_heads, [&](int64_t task, int worker) {
    KeyTile(task / shape_.kv_heads, task % shape_.kv_heads, worker, run);
  });
}

absl::StatusOr<CpuProgram> PrepareAttentionBackward(const CpuCall& call, CpuCompiler& compiler) {
  // Shared: a CpuProgram must be copyable.
  CHOIR_ASSIGN_OR_RETURN(const auto kernel, AttentionGradient::Create(call, compiler));
  return [=](CpuRun& run) {
    kernel->Run(run);
    return absl::OkStatus();
  };
}

}  // namespace

const CpuKernel kAttentionBackwardCpuKernel = {PrepareAttentionBackward};

}  // namespace choir::engine
