// Kernels that go through values one by one: add, add_row, scale, soft_cap.

// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/backend/cpu/elementwise_kernels.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "engine/backend/cpu/simd_loop-inl.h"
// clang-format on

#include "engine/backend/cpu/kernel_table.h"
#include "engine/backend/cpu/vector_math.h"

HWY_BEFORE_NAMESPACE();
namespace choir::engine::HWY_NAMESPACE {

void CapAll(const float* x, float cap, float* out, size_t n) {
  ForEachVector(n, [=](auto d, size_t i) HWY_ATTR {
    const auto scaled = hn::Mul(hn::LoadU(d, x + i), hn::Set(d, 1.0F / cap));
    hn::StoreU(hn::Mul(hn::Set(d, cap), hn::Tanh(d, scaled)), d, out + i);
  });
}

}  // namespace choir::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace choir::engine {
namespace {

HWY_EXPORT(CapAll);

constexpr int64_t kElementsPerTask = 16384;

absl::StatusOr<CpuProgram> PrepareAdd(const CpuCall& call, CpuCompiler& /*compiler*/) {
  const float* const a = call.inputs[0].f32();
  const float* const b = call.inputs[1].f32();
  float* const out = call.outputs[0].f32();
  const int64_t count = call.outputs[0].desc.shape.NumElements();
  return [=](CpuRun& run) {
    run.ParallelRanges(count, kElementsPerTask, [&](int64_t begin, int64_t end, int) {
      AddVectors(a + begin, b + begin, out + begin, static_cast<size_t>(end - begin));
    });
    return absl::OkStatus();
  };
}

absl::StatusOr<CpuProgram> PrepareAddRow(const CpuCall& call, CpuCompiler& /*compiler*/) {
  const float* const x = call.inputs[0].f32();
  const float* const row = call.inputs[1].f32();
  const CpuOutput out = call.outputs[0];
  return [=](CpuRun& run) {
    const int64_t cols = out.cols();
    run.ParallelFor(out.rows(), [&](int64_t t, int) {
      AddVectors(x + t * cols, row, out.f32() + t * cols, static_cast<size_t>(cols));
    });
    return absl::OkStatus();
  };
}

absl::StatusOr<CpuProgram> PrepareScale(const CpuCall& call, CpuCompiler& /*compiler*/) {
  const float* const x = call.inputs[0].f32();
  float* const out = call.outputs[0].f32();
  const auto factor = static_cast<float>(call.attrs.Float("factor"));
  const int64_t count = call.outputs[0].desc.shape.NumElements();
  return [=](CpuRun& run) {
    run.ParallelRanges(count, kElementsPerTask, [&](int64_t begin, int64_t end, int) {
      ScaleVector(x + begin, factor, out + begin, static_cast<size_t>(end - begin));
    });
    return absl::OkStatus();
  };
}

absl::StatusOr<CpuProgram> PrepareSoftCap(const CpuCall& call, CpuCompiler& /*compiler*/) {
  const float* const x = call.inputs[0].f32();
  float* const out = call.outputs[0].f32();
  const auto cap = static_cast<float>(call.attrs.Float("cap"));
  const int64_t count = call.outputs[0].desc.shape.NumElements();
  return [=](CpuRun& run) {
    run.ParallelRanges(count, kElementsPerTask, [&](int64_t begin, int64_t end, int) {
      HWY_DYNAMIC_DISPATCH(CapAll)
      (x + begin, cap, out + begin, static_cast<size_t>(end - begin));
    });
    return absl::OkStatus();
  };
}

}  // namespace

const CpuKernel kAddCpuKernel = {PrepareAdd};
const CpuKernel kAddRowCpuKernel = {PrepareAddRow};
const CpuKernel kScaleCpuKernel = {PrepareScale};
const CpuKernel kSoftCapCpuKernel = {PrepareSoftCap};

}  // namespace choir::engine
#endif  // HWY_ONCE
