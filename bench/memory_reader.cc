#include "bench/memory_reader.h"

#include <algorithm>
#include <chrono>

#include "base/status_macros.h"
#include "engine/backend/cpu/vector_math.h"

namespace choir::bench {
namespace {

// A stretch at a time, so that a thread that is held up does less of it.
constexpr int64_t kStretch = int64_t{1} << 20;

}  // namespace

absl::StatusOr<std::unique_ptr<MemoryReader>> MemoryReader::Create(int threads, int64_t bytes) {
  const int64_t count = bytes / static_cast<int64_t>(sizeof(float));
  std::unique_ptr<MemoryReader> reader(new MemoryReader(threads, count));
  CHOIR_ASSIGN_OR_RETURN(reader->memory_,
                         engine::AlignedBytes::Allocate(static_cast<uint64_t>(bytes)));
  // Pages that were never written are all one page.
  std::fill_n(reinterpret_cast<float*>(reader->memory_.data()), count, 1.0F);
  reader->sums_.resize(static_cast<size_t>(threads));
  return reader;
}

absl::Status MemoryReader::Step() {
  const auto* const floats = reinterpret_cast<const float*>(memory_.data());
  const auto start = std::chrono::steady_clock::now();
  pool_.ParallelFor((count_ + kStretch - 1) / kStretch, [&](int64_t index, int worker) {
    const int64_t begin = index * kStretch;
    sums_[static_cast<size_t>(worker)] += engine::SumOfSquares(
        floats + begin, static_cast<size_t>(std::min(kStretch, count_ - begin)));
  });
  times_.Add(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  return absl::OkStatus();
}

}  // namespace choir::bench
