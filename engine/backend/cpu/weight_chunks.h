#ifndef CHOIR_ENGINE_BACKEND_CPU_WEIGHT_CHUNKS_H_
#define CHOIR_ENGINE_BACKEND_CPU_WEIGHT_CHUNKS_H_

// Frozen weights where they lie in the model file, as kernels read them.

#include <algorithm>
#include <cstdint>

#include "engine/backend/cpu/cpu_kernel.h"
#include "engine/backend/cpu/dequantize.h"

namespace choir::engine {

// Reads single rows as f32.
class WeightRows {
 public:
  explicit WeightRows(const CpuInput& weight);
  // The row where it lies, or dequantised into `buffer` (cols floats).
  const float* Row(int64_t row, float* buffer) const;
  // ParallelFor over tasks that each read one row anywhere. Of streamed weights some at a time, and
  // then the pages that they brought are let go: of a row that is a few hundred KiB.
  template <typename Task>
  void ForEachLookup(int64_t count, CpuRun& run, Task&& task) const {
    const int64_t at_once = weight_.streamed ? kLookupsAtOnce : std::max<int64_t>(count, 1);
    for (int64_t begin = 0; begin < count; begin += at_once) {
      run.ParallelFor(std::min(at_once, count - begin),
                      [&](int64_t i, int worker) { task(begin + i, worker); });
      if (weight_.streamed) Release();
    }
  }

 private:
  static constexpr int64_t kLookupsAtOnce = 32;
  void Release() const;

  CpuInput weight_;
  RowDequantizer dequantize_ = nullptr;
  int64_t row_bytes_ = 0;
  bool in_place_ = false;
};

// The rows of a frozen weight as operands of products, a chunk at a time: in place where the file
// already has the product's type, else dequantised just before use into a buffer that the next
// chunk overwrites. No full-size copy ever exists.
class WeightChunks {
 public:
  // Chunks of at most `max_rows` rows (0: as many as fit the buffer). The buffer is at most
  // kBufferBytes, unless one row is larger.
  WeightChunks(const CpuInput& weight, GemmType type, int64_t max_rows, CpuCompiler& compiler);

  [[nodiscard]] int64_t num_chunks() const { return (rows_ + chunk_rows_ - 1) / chunk_rows_; }
  [[nodiscard]] int64_t chunk_rows() const { return chunk_rows_; }
  [[nodiscard]] int64_t Begin(int64_t chunk) const { return chunk * chunk_rows_; }
  [[nodiscard]] int64_t Rows(int64_t chunk) const {
    return std::min(chunk_rows_, rows_ - Begin(chunk));
  }
  // The chunk's rows, `cols` elements apart; valid until the next call. Works in parallel. Of
  // streamed weights, the file's pages that are done with are let go.
  const void* Prepare(int64_t chunk, CpuRun& run) const;

 private:
  void Dequantize(int64_t chunk, CpuRun& run) const;
  void Release(int64_t chunk) const;

  // 4 MiB: large enough that starting the threads costs nothing, small enough to stay in the
  // last-level cache between dequantisation and product.
  static constexpr int64_t kBufferBytes = int64_t{4} << 20;

  CpuInput weight_;
  WeightRows rows_f32_;
  RowRounder round_ = nullptr;  // straight to bf16, where the format has that
  GemmType type_;
  int64_t rows_ = 0, cols_ = 0, chunk_rows_ = 0;
  int64_t row_bytes_ = 0;
  bool in_place_ = false;
  SharedScratch buffer_;
  WorkerScratch row_;  // one f32 row, on the way to bf16
};

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_BACKEND_CPU_WEIGHT_CHUNKS_H_
