// rms_norm and rms_norm_backward: each row, or each group of a row, is normalised by itself.

// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/backend/cpu/rms_norm_kernels.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "engine/backend/cpu/simd_loop-inl.h"
// clang-format on

#include <cmath>

#include "engine/backend/cpu/kernel_table.h"

HWY_BEFORE_NAMESPACE();
namespace choir::engine::HWY_NAMESPACE {

// Returns 1 / rms.
float NormRow(const float* x, const float* w, float eps, size_t n, float* y) {
  const float square_sum = SumOverVectors(n, [x](auto d, size_t i) HWY_ATTR {
    const auto v = hn::LoadU(d, x + i);
    return hn::Mul(v, v);
  });
  const float rstd = 1.0F / std::sqrt(square_sum / static_cast<float>(n) + eps);
  ForEachVector(n, [=](auto d, size_t i) HWY_ATTR {
    const auto scaled = hn::Mul(hn::LoadU(d, x + i), hn::Set(d, rstd));
    hn::StoreU(hn::Mul(scaled, hn::LoadU(d, w + i)), d, y + i);
  });
  return rstd;
}

// dx = rstd * (dy w - x rstd^2 mean(dy w x)) + acc; acc may be null.
void NormBackwardRow(const float* dy, const float* x, const float* w, float rstd, const float* acc,
                     size_t n, float* dx) {
  const float dot = SumOverVectors(n, [=](auto d, size_t i) HWY_ATTR {
    return hn::Mul(hn::Mul(hn::LoadU(d, dy + i), hn::LoadU(d, w + i)), hn::LoadU(d, x + i));
  });
  const float x_factor = -rstd * rstd * rstd * dot / static_cast<float>(n);
  ForEachVector(n, [=](auto d, size_t i) HWY_ATTR {
    const auto dyw = hn::Mul(hn::LoadU(d, dy + i), hn::LoadU(d, w + i));
    auto result = hn::Mul(hn::Set(d, rstd), dyw);
    result = hn::MulAdd(hn::Set(d, x_factor), hn::LoadU(d, x + i), result);
    if (acc != nullptr) result = hn::Add(result, hn::LoadU(d, acc + i));
    hn::StoreU(result, d, dx + i);
  });
}

}  // namespace choir::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace choir::engine {
namespace {

HWY_EXPORT(NormRow);
HWY_EXPORT(NormBackwardRow);

constexpr int64_t kElementsPerTask = 8192;

int64_t RowsPerTask(int64_t width) {
  return std::max<int64_t>(1, kElementsPerTask / width);
}

// The scale, copied: a file may place it at any byte, and it is small.
std::shared_ptr<const std::vector<float>> CopyScale(const CpuInput& w) {
  auto scale = std::make_shared<std::vector<float>>(static_cast<size_t>(w.cols()));
  std::memcpy(scale->data(), w.data, scale->size() * sizeof(float));
  return scale;  // shared by the copies of one program
}

absl::StatusOr<CpuProgram> PrepareRmsNorm(const CpuCall& call, CpuCompiler& /*compiler*/) {
  const float* const x = call.inputs[0].f32();
  const auto w = CopyScale(call.inputs[1]);
  const auto eps = static_cast<float>(call.attrs.Float("eps"));
  float* const y = call.outputs[0].f32();
  float* const rstd = call.outputs[1].f32();
  // (T, C) in G groups is (T*G, C/G).
  const int64_t rows = call.outputs[1].desc.shape.NumElements();
  const int64_t width = call.inputs[1].cols();
  return [=](CpuRun& run) {
    run.ParallelRanges(rows, RowsPerTask(width), [&](int64_t begin, int64_t end, int) {
      for (int64_t row = begin; row < end; ++row) {
        rstd[row] = HWY_DYNAMIC_DISPATCH(NormRow)(x + row * width, w->data(), eps,
                                                  static_cast<size_t>(width), y + row * width);
      }
    });
    return absl::OkStatus();
  };
}

absl::StatusOr<CpuProgram> PrepareRmsNormBackward(const CpuCall& call, CpuCompiler& /*compiler*/) {
  const float* const dy = call.inputs[0].f32();
  const float* const x = call.inputs[1].f32();
  const auto w = CopyScale(call.inputs[2]);
  const float* const rstd = call.inputs[3].f32();
  const float* const acc = call.attrs.IntOr("accumulate", 0) != 0 ? call.inputs[4].f32() : nullptr;
  float* const dx = call.outputs[0].f32();
  const int64_t rows = call.inputs[3].desc.shape.NumElements();
  const int64_t width = call.inputs[2].cols();
  return [=](CpuRun& run) {
    run.ParallelRanges(rows, RowsPerTask(width), [&](int64_t begin, int64_t end, int) {
      for (int64_t row = begin; row < end; ++row) {
        const int64_t at = row * width;
        HWY_DYNAMIC_DISPATCH(NormBackwardRow)
        (dy + at, x + at, w->data(), rstd[row], acc == nullptr ? nullptr : acc + at,
         static_cast<size_t>(width), dx + at);
      }
    });
    return absl::OkStatus();
  };
}

}  // namespace

const CpuKernel kRmsNormCpuKernel = {PrepareRmsNorm};
const CpuKernel kRmsNormBackwardCpuKernel = {PrepareRmsNormBackward};

}  // namespace choir::engine
#endif  // HWY_ONCE
