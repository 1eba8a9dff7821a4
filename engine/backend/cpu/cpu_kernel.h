#ifndef CHOIR_ENGINE_BACKEND_CPU_CPU_KERNEL_H_
#define CHOIR_ENGINE_BACKEND_CPU_CPU_KERNEL_H_

// What a CPU kernel is given and gives. A kernel prepares one node of a graph when it is compiled:
// it makes its products, names the scratch that it will need, and returns a program that runs the
// node again and again without allocating.

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "engine/backend/cpu/gemm.h"
#include "engine/backend/cpu/rope_tables.h"
#include "engine/backend/cpu/thread_pool.h"
#include "engine/ops/attrs.h"
#include "engine/ops/tensor_desc.h"

namespace choir::engine {

// A tensor's description and its place, which never moves during the executable's life.
struct CpuInput {
  TensorDesc desc;
  const uint8_t* data = nullptr;
  bool streamed = false;  // of a mapped file, whose pages are let go after use

  [[nodiscard]] int64_t rows() const { return desc.shape.rows; }
  [[nodiscard]] int64_t cols() const { return desc.shape.cols; }
  [[nodiscard]] const float* f32() const { return reinterpret_cast<const float*>(data); }
  [[nodiscard]] const int32_t* i32() const { return reinterpret_cast<const int32_t*>(data); }
};

struct CpuOutput {
  TensorDesc desc;
  uint8_t* data = nullptr;

  [[nodiscard]] int64_t rows() const { return desc.shape.rows; }
  [[nodiscard]] int64_t cols() const { return desc.shape.cols; }
  [[nodiscard]] float* f32() const { return reinterpret_cast<float*>(data); }
};

// One node with its tensors.
struct CpuCall {
  const Attrs& attrs;
  std::vector<CpuInput> inputs;
  std::vector<CpuOutput> outputs;
  std::vector<CpuOutput> updates;
};

// Scratch of one node, as offsets into memory that all nodes share, one after another.
struct SharedScratch {
  uint64_t offset = 0;
};
struct WorkerScratch {
  uint64_t offset = 0;
};

// What a program works with while it runs.
class CpuRun {
 public:
  CpuRun(ThreadPool& pool, uint8_t* shared, uint8_t* workers, uint64_t worker_bytes)
      : pool_(pool), shared_(shared), workers_(workers), worker_bytes_(worker_bytes) {}

  [[nodiscard]] int num_threads() const { return pool_.num_threads(); }

  template <typename Task>
  void ParallelFor(int64_t count, Task&& task) {
    pool_.ParallelFor(count, task);
  }
  // ParallelFor over [0, count) in ranges of at most `grain`: task(begin, end, worker).
  template <typename Task>
  void ParallelRanges(int64_t count, int64_t grain, Task&& task) {
    pool_.ParallelFor((count + grain - 1) / grain, [&](int64_t range, int worker) {
      const int64_t begin = range * grain;
      task(begin, std::min(begin + grain, count), worker);
    });
  }
  template <typename T>
  [[nodiscard]] T* Get(SharedScratch scratch) const {
    return reinterpret_cast<T*>(shared_ + scratch.offset);
  }
  template <typename T>
  [[nodiscard]] T* Get(WorkerScratch scratch, int worker) const {
    return reinterpret_cast<T*>(workers_ + worker_bytes_ * static_cast<uint64_t>(worker) +
                                scratch.offset);
  }
  // Counts runs of the executable from 1, for what is computed once a run.
  uint64_t run_number = 0;

 private:
  ThreadPool& pool_;
  uint8_t* shared_;
  uint8_t* workers_;
  uint64_t worker_bytes_;
};

using CpuProgram = std::function<absl::Status(CpuRun&)>;

// What a kernel may ask for while it prepares a node.
class CpuCompiler {
 public:
  CpuCompiler(GemmLibrary& gemms, RopeTables& ropes, GemmType weight_products)
      : gemms_(gemms), ropes_(ropes), weight_products_(weight_products) {}

  [[nodiscard]] GemmLibrary& gemms() { return gemms_; }
  [[nodiscard]] RopeTables& rope_tables() { return ropes_; }
  // The type of products with frozen weights.
  [[nodiscard]] GemmType weight_products() const { return weight_products_; }

  // Memory for this node while it runs, 64-byte aligned, contents undefined.
  SharedScratch ReserveShared(int64_t size_bytes) { return {Bump(shared_, size_bytes)}; }
  WorkerScratch ReservePerWorker(int64_t size_bytes) { return {Bump(worker_, size_bytes)}; }

  void BeginNode() { shared_.used = worker_.used = 0; }
  [[nodiscard]] uint64_t shared_bytes() const { return shared_.peak; }
  [[nodiscard]] uint64_t worker_bytes() const { return worker_.peak; }

 private:
  struct Region {
    uint64_t used = 0;
    uint64_t peak = 0;
  };
  static uint64_t Bump(Region& region, int64_t size_bytes) {
    const uint64_t offset = region.used;
    region.used += RoundUpToLine(static_cast<uint64_t>(size_bytes));
    region.peak = std::max(region.peak, region.used);
    return offset;
  }

  GemmLibrary& gemms_;
  RopeTables& ropes_;
  GemmType weight_products_;
  Region shared_;
  Region worker_;
};

// One entry of the kernel table. The op's shape rule has already accepted the node.
struct CpuKernel {
  absl::StatusOr<CpuProgram> (*prepare)(const CpuCall& call, CpuCompiler& compiler);
};

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_BACKEND_CPU_CPU_KERNEL_H_
