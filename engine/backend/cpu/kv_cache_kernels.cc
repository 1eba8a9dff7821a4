// kv_append and cached_attention: a cache that is f32, or in the blocks of F16 or Q8_0. Attention
// as in attention_kernels.cc; one task is one tile of queries and all heads that share a head of
// keys and values, so that each tile of the cache is converted to f32 once.

#include <cstring>
#include <memory>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "engine/backend/cpu/attention_tiles.h"
#include "engine/backend/cpu/dequantize.h"
#include "engine/backend/cpu/kernel_table.h"
#include "engine/backend/cpu/row_products.h"
#include "engine/backend/cpu/vector_math.h"
#include "engine/quant/weight_format.h"

namespace choir::engine {
namespace {

// Up to this many queries, dot products with the keys beat a call of a matrix product.
constexpr int64_t kMaxDotQueries = 4;

absl::Status CheckStart(int32_t start, int64_t tokens, int64_t cache_rows) {
  if (start >= 0 && start <= cache_rows - tokens) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("{} tokens at position {} do not fit a cache of {}", tokens, start, cache_rows));
}

bool IsF32(const TensorDesc& desc) {
  return desc.dtype == DType::kF32;
}

int64_t RowBytes(const TensorDesc& desc) {
  return SizeBytes(desc) / desc.shape.rows;
}

absl::StatusOr<CpuProgram> PrepareKvAppend(const CpuCall& call, CpuCompiler& /*compiler*/) {
  const CpuInput x = call.inputs[0];
  const int32_t* const start = call.inputs[1].i32();
  const CpuOutput cache = call.updates[0];
  return [=](CpuRun& run) {
    if (auto status = CheckStart(*start, x.rows(), cache.rows()); !status.ok()) return status;
    const auto cols = static_cast<size_t>(x.cols());
    const int64_t row_bytes = RowBytes(cache.desc);
    uint8_t* const to = cache.data + *start * row_bytes;
    if (IsF32(cache.desc)) {
      std::memcpy(to, x.f32(), static_cast<size_t>(x.rows() * row_bytes));
      return absl::OkStatus();
    }
    if (cache.desc.format == &kF16Format) {
      ConvertToF16(x.f32(), reinterpret_cast<uint16_t*>(to), static_cast<size_t>(x.rows()) * cols);
      return absl::OkStatus();
    }
    run.ParallelFor(x.rows(), [&](int64_t t, int) {
      cache.desc.format->quantize_row({x.f32() + t * x.cols(), cols},
                                      {to + t * row_bytes, static_cast<size_t>(row_bytes)});
    });
    return absl::OkStatus();
  };
}

// Rows of one head's keys or values, `stride` elements apart: f32, or else halves.
struct CacheTile {
  const float* f32 = nullptr;
  const uint16_t* halves = nullptr;
  int64_t stride = 0;

  void Dot(const float* x, int64_t rows, int64_t cols, float* out) const {
    if (halves != nullptr) {
      DotRows(x, halves, stride, rows, cols, out);
    } else {
      DotRows(x, f32, stride, rows, cols, out);
    }
  }
  void AddWeighted(const float* weights, int64_t rows, int64_t cols, float* out) const {
    if (halves != nullptr) {
      AddWeightedRows(weights, halves, stride, rows, cols, out);
    } else {
      AddWeightedRows(weights, f32, stride, rows, cols, out);
    }
  }
};

// Tiles of one head's keys or values: in place, or converted to f32.
class CacheTiles {
 public:
  // `halves`: may a cache of F16 stay as it is?
  CacheTiles(const CpuInput& cache, int64_t head_size, bool halves, CpuCompiler& compiler)
      : cache_(cache), head_size_(head_size), stride_(cache.cols()) {
    if (IsF32(cache.desc)) return;
    if (halves && cache.desc.format == &kF16Format) {
      halves_ = true;
      return;
    }
    dequantize_ = RowDequantizerOf(*cache.desc.format);
    // A head may begin and end within a block.
    const auto block = static_cast<int64_t>(cache.desc.format->block_elements);
    stride_ = (head_size + 2 * block - 2) / block * block;
    buffer_ = compiler.ReservePerWorker(kAttentionTile * stride_ * 4);
  }
  [[nodiscard]] int64_t stride() const { return stride_; }
  // Rows [row, row + rows) of the head's columns, stride() apart.
  CacheTile Load(int64_t row, int64_t rows, int64_t head, CpuRun& run, int worker) const {
    const int64_t first = head * head_size_;
    const int64_t at = row * stride_ + first;
    CacheTile tile{.stride = stride_};
    if (halves_) {
      tile.halves = reinterpret_cast<const uint16_t*>(cache_.data) + at;
      return tile;
    }
    if (dequantize_ == nullptr) {
      tile.f32 = cache_.f32() + at;
      return tile;
    }
    const WeightFormat& format = *cache_.desc.format;
    const auto block = static_cast<int64_t>(format.block_elements);
    const int64_t first_block = first / block;
    const int64_t num_blocks = (first + head_size_ + block - 1) / block - first_block;
    const auto block_bytes = static_cast<int64_t>(format.block_bytes);
    const int64_t row_bytes = RowBytes(cache_.desc);
    auto* const buffer = run.Get<float>(buffer_, worker);
    for (int64_t i = 0; i < rows; ++i) {
      const uint8_t* const from = cache_.data + (row + i) * row_bytes + first_block * block_bytes;
      dequantize_({from, static_cast<size_t>(num_blocks * block_bytes)},
                  {buffer + i * stride_, static_cast<size_t>(num_blocks * block)});
    }
    tile.f32 = buffer + first % block;
    return tile;
  }
  // Has the rows fetched meanwhile: they lie far apart, where no processor looks ahead by itself.
  void Prefetch(int64_t row, int64_t rows, int64_t head) const {
    const int64_t row_bytes = RowBytes(cache_.desc);
    const int64_t bytes = row_bytes * head_size_ / cache_.cols();
    const uint8_t* from = cache_.data + row * row_bytes + head * bytes;
    constexpr int64_t kLineBytes = 64;
    for (int64_t i = 0; i < rows; ++i, from += row_bytes) {
      for (int64_t at = 0; at < bytes; at += kLineBytes) __builtin_prefetch(from + at);
    }
  }

 private:
  CpuInput cache_;
  int64_t head_size_;
  int64_t stride_;
  RowDequantizer dequantize_ = nullptr;  // null: in place
  bool halves_ = false;
  WorkerScratch buffer_;
};

class CachedAttention {
 public:
  static absl::StatusOr<std::shared_ptr<CachedAttention>> Create(const CpuCall& call,
                                                                 CpuCompiler& compiler);
  absl::Status Run(CpuRun& run) const;

 private:
  CachedAttention(const CpuCall& call, CpuCompiler& compiler);
  absl::Status MakeProducts(CpuCompiler& compiler);
  void RunTask(int64_t query_tile, int64_t kv_head, const Visibility& sees, int worker,
               CpuRun& run) const;
  // The queries of one head against one tile of keys and values.
  void AddTile(const ScoreTile& tile, const float* q, const CacheTile& k, const CacheTile& v,
               const Visibility& sees, const RunningSoftmax& state, int worker) const;
  void WriteRows(int64_t query0, int64_t rows, int64_t head, const RunningSoftmax& state) const;

  AttentionShape shape_;
  const float* q_;
  bool dots_;
  CacheTiles k_;
  CacheTiles v_;
  const int32_t* start_;
  float* out_;
  TileGemms scores_;  // (queries, keys) = q k^T
  TileGemms values_;  // (queries, head_size) += p v
  WorkerScratch tile_, out_tiles_, max_, sum_;
};

CachedAttention::CachedAttention(const CpuCall& call, CpuCompiler& compiler)
    : shape_(call.attrs, call.inputs[0].desc.shape, call.inputs[1].desc.shape),
      q_(call.inputs[0].f32()),
      dots_(shape_.queries <= kMaxDotQueries),
      k_(call.inputs[1], shape_.head_size, dots_, compiler),
      v_(call.inputs[2], shape_.head_size, dots_, compiler),
      start_(call.inputs[3].i32()),
      out_(call.outputs[0].f32()) {
  const int64_t rows = std::min(shape_.queries, kAttentionTile);
  tile_ = compiler.ReservePerWorker(rows * kAttentionTile * 4);
  out_tiles_ = compiler.ReservePerWorker(shape_.group() * rows * shape_.head_size * 4);
  max_ = compiler.ReservePerWorker(shape_.group() * rows * 4);
  sum_ = compiler.ReservePerWorker(shape_.group() * rows * 4);
}

absl::StatusOr<std::shared_ptr<CachedAttention>> CachedAttention::Create(const CpuCall& call,
                                                                         CpuCompiler& compiler) {
  std::shared_ptr<CachedAttention> kernel(new CachedAttention(call, compiler));
  if (!kernel->dots_) CHOIR_RETURN_IF_ERROR(kernel->MakeProducts(compiler));
  return kernel;
}

absl::Status CachedAttention::MakeProducts(CpuCompiler& compiler) {
  const auto queries = TileGemms::Extent::Of(shape_.queries);
  const auto keys = TileGemms::Extent::Of(shape_.keys);
  const GemmShape scores{.k = shape_.head_size,
                         .lda = shape_.q_stride(),
                         .ldb = k_.stride(),
                         .ldc = kAttentionTile,
                         .transpose_b = true};
  CHOIR_ASSIGN_OR_RETURN(scores_, TileGemms::Create(compiler.gemms(), scores, queries,
                                                    &GemmShape::m, keys, &GemmShape::n));
  const GemmShape values{.n = shape_.head_size,
                         .lda = kAttentionTile,
                         .ldb = v_.stride(),
                         .ldc = shape_.head_size,
                         .accumulate = true};
  CHOIR_ASSIGN_OR_RETURN(values_, TileGemms::Create(compiler.gemms(), values, queries,
                                                    &GemmShape::m, keys, &GemmShape::k));
  return absl::OkStatus();
}

absl::Status CachedAttention::Run(CpuRun& run) const {
  CHOIR_RETURN_IF_ERROR(CheckStart(*start_, shape_.queries, shape_.keys));
  const Visibility sees{.first_query = *start_, .window = shape_.window};
  const int64_t tiles = shape_.query_tiles();
  run.ParallelFor(tiles * shape_.kv_heads, [&](int64_t task, int worker) {
    // The last queries see most keys: they come first, so that no thread ends late.
    RunTask(tiles - 1 - task / shape_.kv_heads, task % shape_.kv_heads, sees, worker, run);
  });
  return absl::OkStatus();
}

void CachedAttention::RunTask(int64_t query_tile, int64_t kv_head, const Visibility& sees,
                              int worker, CpuRun& run) const {
  const int64_t query0 = query_tile * kAttentionTile;
  const int64_t rows = TileRows(query_tile, shape_.queries);
  const int64_t head0 = kv_head * shape_.group();
  const auto state = [&](int64_t g) {
    return RunningSoftmax{run.Get<float>(max_, worker) + g * rows,
                          run.Get<float>(sum_, worker) + g * rows,
                          run.Get<float>(out_tiles_, worker) + g * rows * shape_.head_size};
  };
  std::fill_n(state(0).max, shape_.group() * rows, kNoMaximumYet);
  std::fill_n(state(0).sum, shape_.group() * rows, 0.0F);
  std::fill_n(state(0).out, shape_.group() * rows * shape_.head_size, 0.0F);
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
    if (dots_) {
      k_.Prefetch(key0, cols, kv_head);
      v_.Prefetch(key0, cols, kv_head);
    }
    const CacheTile k = k_.Load(key0, cols, kv_head, run, worker);
    const CacheTile v = v_.Load(key0, cols, kv_head, run, worker);
    for (int64_t g = 0; g < shape_.group(); ++g) {
      const float* const q = q_ + query0 * shape_.q_stride() + (head0 + g) * shape_.head_size;
      AddTile(tile, q, k, v, sees, state(g), worker);
    }
  }
  for (int64_t g = 0; g < shape_.group(); ++g) WriteRows(query0, rows, head0 + g, state(g));
}

void CachedAttention::AddTile(const ScoreTile& tile, const float* q, const CacheTile& k,
                              const CacheTile& v, const Visibility& sees,
                              const RunningSoftmax& state, int worker) const {
  if (!dots_) {
    scores_.For(tile.rows, tile.cols).Run(worker, q, k.f32, tile.scores);
    UpdateSoftmaxTile(tile, shape_, sees, state);
    values_.For(tile.rows, tile.cols).Run(worker, tile.scores, v.f32, state.out);
    return;
  }
  for (int64_t i = 0; i < tile.rows; ++i) {
    k.Dot(q + i * shape_.q_stride(), tile.cols, shape_.head_size, tile.scores + i * tile.stride);
  }
  UpdateSoftmaxTile(tile, shape_, sees, state);
  for (int64_t i = 0; i < tile.rows; ++i) {
    v.AddWeighted(tile.scores + i * tile.stride, tile.cols, shape_.head_size,
                  state.out + i * shape_.head_size);
  }
}

void CachedAttention::WriteRows(int64_t query0, int64_t rows, int64_t head,
                                const RunningSoftmax& state) const {
  for (int64_t i = 0; i < rows; ++i) {
    ScaleVector(state.out + i * shape_.head_size, 1.0F / state.sum[i],
                out_ + (query0 + i) * shape_.q_stride() + head * shape_.head_size,
                static_cast<size_t>(shape_.head_size));
  }
}

absl::StatusOr<CpuProgram> PrepareCachedAttention(const CpuCall& call, CpuCompiler& compiler) {
  // Shared: a CpuProgram must be copyable.
  CHOIR_ASSIGN_OR_RETURN(const auto kernel, CachedAttention::Create(call, compiler));
  return [=](CpuRun& run) { return kernel->Run(run); };
}

}  // namespace

const CpuKernel kKvAppendCpuKernel = {PrepareKvAppend};
const CpuKernel kCachedAttentionCpuKernel = {PrepareCachedAttention};

}  // namespace choir::engine
