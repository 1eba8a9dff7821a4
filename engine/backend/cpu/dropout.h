#ifndef CHOIR_ENGINE_BACKEND_CPU_DROPOUT_H_
#define CHOIR_ENGINE_BACKEND_CPU_DROPOUT_H_

// LoRA dropout (engine/ops/dropout_mask.h): masks are made a row at a time, where they are used.

#include <cstddef>
#include <cstdint>
#include <optional>

#include "engine/backend/cpu/cpu_kernel.h"
#include "engine/ops/dropout_mask.h"

namespace choir::engine {

// out = x through the mask's row. The two may be the same.
void DropRow(const DropoutMask& mask, int64_t row, const float* x, float* out, size_t n);
// out += x through the mask's row.
void AddDroppedRow(const DropoutMask& mask, int64_t row, const float* x, float* out, size_t n);

// The dropout of one call; `key` is the call's input of that name.
class CallDropout {
 public:
  // Nothing if the call has none.
  static std::optional<CallDropout> Of(const CpuCall& call, size_t key);
  // As the key says now.
  [[nodiscard]] DropoutMask Mask() const { return mask_.With(key_); }

 private:
  CallDropout(const DropoutMask& mask, const int32_t* key) : mask_(mask), key_(key) {}

  DropoutMask mask_;
  const int32_t* key_;
};

// What a LoRA bypass multiplies: the input itself, or its copy through the mask, which lives in
// scratch while the node runs.
class BypassInput {
 public:
  BypassInput(const CpuInput& x, std::optional<CallDropout> dropout, CpuCompiler& compiler);
  const float* Prepare(CpuRun& run) const;

 private:
  CpuInput x_;
  std::optional<CallDropout> dropout_;
  SharedScratch copy_;
};

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_BACKEND_CPU_DROPOUT_H_
