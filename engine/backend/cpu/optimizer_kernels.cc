// adamw and grad_norm: element by element over the flat vector of adapter factors.

// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/backend/cpu/optimizer_kernels.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "engine/backend/cpu/simd_loop-inl.h"
// clang-format on

#include "engine/backend/cpu/kernel_table.h"
#include "engine/backend/cpu/vector_math.h"

HWY_BEFORE_NAMESPACE();
namespace choir::engine::HWY_NAMESPACE {

// `hyper` as in ops.def. Loshchilov and Hutter 2019, algorithm 2, in PyTorch's order.
void AdamStep(const float* hyper, float* param, float* grad, float* m, float* v, size_t n) {
  const float lr = hyper[0], beta1 = hyper[1], beta2 = hyper[2], eps = hyper[3];
  const float keep = 1.0F - lr * hyper[4];
  const float step = lr / hyper[5];
  const float correction2 = hyper[6], grad_scale = hyper[7];
  ForEachVector(n, [=](auto d, size_t i) HWY_ATTR {
    const auto g = hn::Mul(hn::LoadU(d, grad + i), hn::Set(d, grad_scale));
    const auto new_m =
        hn::MulAdd(hn::Set(d, beta1), hn::LoadU(d, m + i), hn::Mul(hn::Set(d, 1.0F - beta1), g));
    const auto new_v = hn::MulAdd(hn::Set(d, beta2), hn::LoadU(d, v + i),
                                  hn::Mul(hn::Set(d, 1.0F - beta2), hn::Mul(g, g)));
    const auto rms = hn::Sqrt(hn::Div(new_v, hn::Set(d, correction2)));
    const auto update = hn::Div(hn::Mul(hn::Set(d, step), new_m), hn::Add(rms, hn::Set(d, eps)));
    const auto p = hn::Mul(hn::LoadU(d, param + i), hn::Set(d, keep));
    hn::StoreU(hn::Sub(p, update), d, param + i);
    hn::StoreU(new_m, d, m + i);
    hn::StoreU(new_v, d, v + i);
    hn::StoreU(hn::Zero(d), d, grad + i);
  });
}

}  // namespace choir::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace choir::engine {
namespace {

HWY_EXPORT(AdamStep);

constexpr int64_t kElementsPerTask = 8192;

absl::StatusOr<CpuProgram> PrepareAdamW(const CpuCall& call, CpuCompiler& /*compiler*/) {
  const float* const hyper = call.inputs[0].f32();
  float* const param = call.updates[0].f32();
  float* const grad = call.updates[1].f32();
  float* const m = call.updates[2].f32();
  float* const v = call.updates[3].f32();
  const int64_t count = call.updates[0].desc.shape.NumElements();
  return [=](CpuRun& run) {
    run.ParallelRanges(count, kElementsPerTask, [&](int64_t begin, int64_t end, int) {
      HWY_DYNAMIC_DISPATCH(AdamStep)
      (hyper, param + begin, grad + begin, m + begin, v + begin, static_cast<size_t>(end - begin));
    });
    return absl::OkStatus();
  };
}

// Sums of fixed ranges, added in order: the same for any number of threads.
absl::StatusOr<CpuProgram> PrepareGradNorm(const CpuCall& call, CpuCompiler& compiler) {
  const float* const grad = call.inputs[0].f32();
  float* const sum = call.updates[0].f32();
  const int64_t count = call.inputs[0].desc.shape.NumElements();
  const int64_t ranges = (count + kElementsPerTask - 1) / kElementsPerTask;
  const SharedScratch partial = compiler.ReserveShared(ranges * 4);
  return [=](CpuRun& run) {
    auto* const sums = run.Get<float>(partial);
    run.ParallelRanges(count, kElementsPerTask, [&](int64_t begin, int64_t end, int) {
      sums[begin / kElementsPerTask] = SumOfSquares(grad + begin, static_cast<size_t>(end - begin));
    });
    double total = 0;
    for (int64_t range = 0; range < ranges; ++range) total += static_cast<double>(sums[range]);
    *sum = static_cast<float>(static_cast<double>(*sum) + total);
    return absl::OkStatus();
  };
}

}  // namespace

const CpuKernel kAdamWCpuKernel = {PrepareAdamW};
const CpuKernel kGradNormCpuKernel = {PrepareGradNorm};

}  // namespace choir::engine
#endif  // HWY_ONCE
