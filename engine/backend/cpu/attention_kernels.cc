// attention: softmax(q k^T) v in tiles with a running maximum (Dao et al. 2022, Milakov and
// Gimelshein 2018). One task is one tile of queries of one head; no scores outlive it.

#include <cmath>
#include <cstring>

#include "base/status_macros.h"
#include "engine/backend/cpu/attention_tiles.h"
#include "engine/backend/cpu/kernel_table.h"
#include "engine/backend/cpu/vector_math.h"

namespace choir::engine {
namespace {

class AttentionForward {
 public:
  static absl::StatusOr<std::shared_ptr<AttentionForward>> Create(const CpuCall& call,
                                                                  CpuCompiler& compiler);
  void Run(const Visibility& sees, CpuRun& run) const;

 private:
  AttentionForward(const CpuCall& call, CpuCompiler& compiler);
  void RunTile(int64_t query_tile, int64_t head, const Visibility& sees, int worker,
               CpuRun& run) const;
  void WriteRows(int64_t query0, int64_t rows, int64_t head, const RunningSoftmax& state) const;

  AttentionShape shape_;
  const float* q_;
  const float* k_;
  const float* v_;
  float* out_;
  float* lse_;        // (T, H)
  TileGemms scores_;  // (queries, keys) = q k^T
  TileGemms values_;  // (queries, head_size) += p v
  WorkerScratch tile_, out_tile_, max_, sum_;
};

AttentionForward::AttentionForward(const CpuCall& call, CpuCompiler& compiler)
    : shape_(call.attrs, call.inputs[0].desc.shape, call.inputs[1].desc.shape),
      q_(call.inputs[0].f32()),
      k_(call.inputs[1].f32()),
      v_(call.inputs[2].f32()),
      out_(call.outputs[0].f32()),
      lse_(call.outputs[1].f32()),
      tile_(compiler.ReservePerWorker(kAttentionTile * kAttentionTile * 4)),
      out_tile_(compiler.ReservePerWorker(kAttentionTile * shape_.head_size * 4)),
      max_(compiler.ReservePerWorker(kAttentionTile * 4)),
      sum_(compiler.ReservePerWorker(kAttentionTile * 4)) {}

absl::StatusOr<std::shared_ptr<AttentionForward>> AttentionForward::Create(const CpuCall& call,
                                                                           CpuCompiler& compiler) {
  std::shared_ptr<AttentionForward> kernel(new AttentionForward(call, compiler));
  const AttentionShape& shape = kernel->shape_;
  const auto queries = TileGemms::Extent::Of(shape.queries);
  const auto keys = TileGemms::Extent::Of(shape.keys);
  const GemmShape scores{.k = shape.head_size,
                         .lda = shape.q_stride(),
                         .ldb = shape.kv_stride(),
                         .ldc = kAttentionTile,
                         .transpose_b = true};
  CHOIR_ASSIGN_OR_RETURN(kernel->scores_, TileGemms::Create(compiler.gemms(), scores, queries,
                                                            &GemmShape::m, keys, &GemmShape::n));
  const GemmShape values{.n = shape.head_size,
                         .lda = kAttentionTile,
                         .ldb = shape.kv_stride(),
                         .ldc = shape.head_size,
                         .accumulate = true};
  CHOIR_ASSIGN_OR_RETURN(kernel->values_, TileGemms::Create(compiler.gemms(), values, queries,
                                                            &GemmShape::m, keys, &GemmShape::k));
  return kernel;
}

void AttentionForward::Run(const Visibility& sees, CpuRun& run) const {
  const int64_t tiles = shape_.query_tiles();
  run.ParallelFor(tiles * shape_.heads, [&](int64_t task, int worker) {
    // The last queries see most keys: they come first, so that no thread ends late.
    RunTile(tiles - 1 - task / shape_.heads, task % shape_.heads, sees, worker, run);
  });
}

void AttentionForward::RunTile(int64_t query_tile, int64_t head, const Visibility& sees, int worker,
                               CpuRun& run) const {
  const int64_t query0 = query_tile * kAttentionTile;
  const int64_t rows = TileRows(query_tile, shape_.queries);
  const int64_t kv_col = head / shape_.group() * shape_.head_size;
  const float* const q = q_ + query0 * shape_.q_stride() + head * shape_.head_size;
  const RunningSoftmax state{run.Get<float>(max_, worker), run.Get<float>(sum_, worker),
                             run.Get<float>(out_tile_, worker)};
  std::fill_n(state.max, rows, kNoMaximumYet);
  std::fill_n(state.sum, rows, 0.0F);
  std::fill_n(state.out, rows * shape_.head_size, 0.0F);
  for (int64_t key_tile = 0; key_tile < shape_.key_tiles(); ++key_tile) {
    const int64_t key0 = key_tile * kAttentionTile;
    const int64_t cols = TileRows(key_tile, shape_.keys);
    const auto kind = sees.Classify(query0, rows, key0, cols);
    if (kind == Visibility::Tile::kHidden) continue;
    const ScoreTile tile{.scores = run.Get<float>(tile_, worker),
                         .rows = rows,
                         .cols = cols,
                         .query0 = query0,
                         .key0 = key0,
                         .masked = kind == Visibility::Tile::kPartial};
    const int64_t kv_at = key0 * shape_.kv_stride() + kv_col;
    scores_.For(rows, cols).Run(worker, q, k_ + kv_at, tile.scores);
    UpdateSoftmaxTile(tile, shape_, sees, state);
    values_.For(rows, cols).Run(worker, tile.scores, v_ + kv_at, state.out);
  }
  WriteRows(query0, rows, head, state);
}

void AttentionForward::WriteRows(int64_t query0, int64_t rows, int64_t head,
                                 const RunningSoftmax& state) const {
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t query = query0 + i;
    ScaleVector(state.out + i * shape_.head_size, 1.0F / state.sum[i],
                out_ + query * shape_.q_stride() + head * shape_.head_size,
                static_cast<size_t>(shape_.head_size));
    lse_[query * shape_.heads + head] = state.max[i] + std::log(state.sum[i]);
  }
}

absl::StatusOr<CpuProgram> PrepareAttention(const CpuCall& call, CpuCompiler& compiler) {
  // Shared: a CpuProgram must be copyable.
  CHOIR_ASSIGN_OR_RETURN(const auto kernel, AttentionForward::Create(call, compiler));
  const Visibility sees{.window = call.attrs.Int("window"), .segments = call.inputs[3].i32()};
  return [=](CpuRun& run) {
    kernel->Run(sees, run);
    return absl::OkStatus();
  };
}

}  // namespace

const CpuKernel kAttentionCpuKernel = {PrepareAttention};

}  // namespace choir::engine
