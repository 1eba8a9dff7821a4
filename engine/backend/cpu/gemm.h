#ifndef CHOIR_ENGINE_BACKEND_CPU_GEMM_H_
#define CHOIR_ENGINE_BACKEND_CPU_GEMM_H_

// Matrix products through oneDNN, each one cut by us into blocks that run in one thread. The only
// files that name oneDNN. A product's primitives are made once, when a graph is compiled, and
// shared by all ops of the same shape.

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "engine/backend/cpu/aligned_bytes.h"

namespace choir::engine {

enum class GemmType : uint8_t { kF32, kBf16 };  // of A and B; C and the sums are f32

constexpr int64_t ElementBytes(GemmType type) {
  return type == GemmType::kF32 ? 4 : 2;
}

// C (m x n) = op(A) (m x k) * op(B) (k x n), or C += it; lda, ldb, ldc are the distances between
// the rows as they lie in memory.
struct GemmShape {
  int64_t m = 0, n = 0, k = 0;
  int64_t lda = 0, ldb = 0, ldc = 0;
  bool transpose_a = false;  // A lies as k x m
  bool transpose_b = false;  // B lies as n x k, as a weight does
  bool accumulate = false;
  GemmType type = GemmType::kF32;

  friend auto operator<=>(const GemmShape&, const GemmShape&) = default;
};

// One primitive. Run() may be called by several workers at the same time, each with its number.
class Gemm {
 public:
  virtual ~Gemm() = default;
  virtual void Run(int worker, const void* a, const void* b, float* c) const = 0;
};

// The primitives of one executable.
class GemmLibrary {
 public:
  explicit GemmLibrary(int num_workers);
  ~GemmLibrary();
  // INTERNAL if oneDNN refuses the shape.
  absl::StatusOr<const Gemm*> Get(const GemmShape& shape);
  // After the last Get() and before the first Run(): allocates the scratch of every worker.
  absl::Status AllocateScratch();
  [[nodiscard]] uint64_t scratch_bytes() const;
  // INTERNAL if any product failed since the last call. Checked once an op, not once a block.
  absl::Status TakeError();

 private:
  class DnnlGemm;
  struct Shared;

  int num_workers_;
  std::unique_ptr<Shared> shared_;
  std::map<GemmShape, std::unique_ptr<DnnlGemm>> gemms_;
  AlignedBytes scratch_;
};

// A product cut into blocks of at most block_m x block_n, any of which may run at any time.
class BlockedGemm {
 public:
  BlockedGemm() = default;
  static absl::StatusOr<BlockedGemm> Create(GemmLibrary& library, const GemmShape& shape,
                                            int64_t block_m, int64_t block_n);

  [[nodiscard]] int64_t num_blocks() const { return blocks_m_ * blocks_n_; }
  // `a`, `b`, `c` point to the whole operands.
  void RunBlock(int64_t block, int worker, const void* a, const void* b, float* c) const;
  // The same, but `c_block` is where the block itself goes.
  void RunBlockTo(int64_t block, int worker, const void* a, const void* b, float* c_block) const;

 private:
  GemmShape shape_;
  int64_t block_m_ = 1, block_n_ = 1;
  int64_t blocks_m_ = 0, blocks_n_ = 0;
  const Gemm* gemms_[2][2] = {};  // [last row of blocks][last column of blocks]
};

// Has this CPU bf16 products that are faster than f32 ones (AVX512-BF16 or AMX)?
bool CpuHasFastBf16();
// What oneDNN uses at most here, for people: "avx512_core_bf16", ...
std::string CpuInstructionSet();

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_BACKEND_CPU_GEMM_H_
