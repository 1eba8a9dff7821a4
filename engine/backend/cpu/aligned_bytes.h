#ifndef CHOIR_ENGINE_BACKEND_CPU_ALIGNED_BYTES_H_
#define CHOIR_ENGINE_BACKEND_CPU_ALIGNED_BYTES_H_

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <utility>

#include "absl/status/statusor.h"
#include <fmt/format.h>

namespace choir::engine {

// One block of memory that starts on a cache line.
class AlignedBytes {
 public:
  static constexpr uint64_t kAlignment = 64;

  AlignedBytes() = default;
  // Fresh pages of the system are zero, and become resident only when touched. RESOURCE_EXHAUSTED.
  static absl::StatusOr<AlignedBytes> Allocate(uint64_t size_bytes) {
    AlignedBytes result;
    if (size_bytes == 0) return result;
    if (size_bytes > UINT64_MAX - 2 * kAlignment) return Exhausted(size_bytes);
    // calloc gives zeros without touching the pages of a large block; aligned_alloc does not.
    result.block_.reset(static_cast<uint8_t*>(std::calloc(size_bytes + kAlignment, 1)));
    if (result.block_ == nullptr) return Exhausted(size_bytes);
    const auto address = reinterpret_cast<uintptr_t>(result.block_.get());
    result.data_ = result.block_.get() + (kAlignment - address % kAlignment) % kAlignment;
    return result;
  }

  [[nodiscard]] uint8_t* data() const { return data_; }

 private:
  struct Free {
    void operator()(uint8_t* block) const { std::free(block); }
  };
  static absl::Status Exhausted(uint64_t size_bytes) {
    return absl::ResourceExhaustedError(
        fmt::format("the system has no {} bytes of memory for this; use a smaller micro-batch or "
                    "model, or checkpoint blocks",
                    size_bytes));
  }

  std::unique_ptr<uint8_t, Free> block_;
  uint8_t* data_ = nullptr;
};

inline constexpr uint64_t RoundUpToLine(uint64_t size_bytes) {
  return (size_bytes + AlignedBytes::kAlignment - 1) / AlignedBytes::kAlignment *
         AlignedBytes::kAlignment;
}

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_BACKEND_CPU_ALIGNED_BYTES_H_
