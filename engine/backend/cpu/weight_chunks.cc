#include "engine/backend/cpu/weight_chunks.h"

#include "base/mapped_file.h"
#include "engine/backend/cpu/vector_math.h"
#include "engine/quant/weight_format.h"

namespace choir::engine {
namespace {

// A file may place a tensor at any byte.
bool IsInPlace(const CpuInput& weight, GemmType type) {
  const WeightFormat* const wanted = type == GemmType::kF32 ? &kF32Format : &kBF16Format;
  const auto alignment = static_cast<uintptr_t>(ElementBytes(type));
  return weight.desc.format == wanted && reinterpret_cast<uintptr_t>(weight.data) % alignment == 0;
}

int64_t RowBytes(const CpuInput& weight) {
  return static_cast<int64_t>(weight.desc.format->RowBytes(static_cast<size_t>(weight.cols())));
}

}  // namespace

WeightChunks::WeightChunks(const CpuInput& weight, GemmType type, int64_t max_rows,
                           CpuCompiler& compiler)
    : weight_(weight),
      rows_f32_(weight),
      round_(RowRounderOf(*weight.desc.format)),
      type_(type),
      rows_(weight.rows()),
      cols_(weight.cols()),
      row_bytes_(RowBytes(weight)),
      in_place_(IsInPlace(weight, type)) {
  chunk_rows_ = rows_;
  if (!in_place_) {
    // Whole blocks of products, where the buffer has room for them.
    constexpr int64_t kGranule = 64;
    int64_t fitting = kBufferBytes / (cols_ * ElementBytes(type));
    if (fitting > kGranule) fitting -= fitting % kGranule;
    chunk_rows_ = std::clamp<int64_t>(fitting, 1, rows_);
  }
  if (max_rows > 0) chunk_rows_ = std::min(chunk_rows_, max_rows);
  if (!in_place_) {
    buffer_ = compiler.ReserveShared(chunk_rows_ * cols_ * ElementBytes(type));
    if (type == GemmType::kBf16) row_ = compiler.ReservePerWorker(cols_ * 4);
  }
}

const void* WeightChunks::Prepare(int64_t chunk, CpuRun& run) const {
  if (in_place_) {
    if (chunk > 0) Release(chunk - 1);
    return weight_.data + Begin(chunk) * row_bytes_;
  }
  Dequantize(chunk, run);
  Release(chunk);
  return run.Get<uint8_t>(buffer_);
}

// And the pages before it, which the system mapped again with the chunk's first one. Rounded
// inwards: the page that the next chunk shares stays.
void WeightChunks::Release(int64_t chunk) const {
  if (!weight_.streamed) return;
  constexpr int64_t kFaultBytes = int64_t{64} << 10;
  const int64_t begin = std::max<int64_t>(Begin(chunk) * row_bytes_ - kFaultBytes, 0);
  const int64_t end = (Begin(chunk) + Rows(chunk)) * row_bytes_;
  ReleaseMapped({weight_.data + begin, static_cast<size_t>(end - begin)});
}

void WeightChunks::Dequantize(int64_t chunk, CpuRun& run) const {
  const int64_t first = Begin(chunk);
  constexpr int64_t kRowsPerTask = 16;
  run.ParallelRanges(Rows(chunk), kRowsPerTask, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t i = begin; i < end; ++i) {
      if (type_ == GemmType::kF32) {
        rows_f32_.Row(first + i, run.Get<float>(buffer_) + i * cols_);
      } else if (round_ != nullptr) {
        round_({weight_.data + (first + i) * row_bytes_, static_cast<size_t>(row_bytes_)},
               {run.Get<uint16_t>(buffer_) + i * cols_, static_cast<size_t>(cols_)});
      } else {
        const float* const row = rows_f32_.Row(first + i, run.Get<float>(row_, worker));
        ConvertToBf16(row, run.Get<uint16_t>(buffer_) + i * cols_, static_cast<size_t>(cols_));
      }
    }
  });
}

WeightRows::WeightRows(const CpuInput& weight)
    : weight_(weight),
      dequantize_(RowDequantizerOf(*weight.desc.format)),
      row_bytes_(RowBytes(weight)),
      in_place_(IsInPlace(weight, GemmType::kF32)) {}

void WeightRows::Release() const {
  ReleaseMapped({weight_.data, static_cast<size_t>(weight_.rows() * row_bytes_)});
}

const float* WeightRows::Row(int64_t row, float* buffer) const {
  if (in_place_) return weight_.f32() + row * weight_.cols();
  dequantize_({weight_.data + row * row_bytes_, static_cast<size_t>(row_bytes_)},
              {buffer, static_cast<size_t>(weight_.cols())});
  return buffer;
}

}  // namespace choir::engine
