#ifndef CHOIR_BENCH_MEMORY_READER_H_
#define CHOIR_BENCH_MEMORY_READER_H_

// Reading memory with all threads and doing nothing else: what generation is compared with. As a
// run that takes turns with others it meets the machine that they meet.

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"

#include "bench/in_turn.h"
#include "engine/backend/cpu/aligned_bytes.h"
#include "engine/backend/cpu/thread_pool.h"

namespace choir::bench {

class MemoryReader final : public MeasuredRun {
 public:
  // `bytes`: of all threads together; far above what caches hold. RESOURCE_EXHAUSTED.
  static absl::StatusOr<std::unique_ptr<MemoryReader>> Create(int threads, int64_t bytes);

  // Reads everything once.
  absl::Status Step() override;
  [[nodiscard]] const Times& times() const override { return times_; }
  [[nodiscard]] double bytes() const { return static_cast<double>(count_) * sizeof(float); }

 private:
  MemoryReader(int threads, int64_t count) : pool_(threads), count_(count) {}

  engine::ThreadPool pool_;
  int64_t count_;
  engine::AlignedBytes memory_;
  std::vector<float> sums_;  // by thread: what was read must be used
  Times times_;
};

}  // namespace choir::bench

#endif  // CHOIR_BENCH_MEMORY_READER_H_
