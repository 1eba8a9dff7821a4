// glu and glu_backward: act(gate) * up.

// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/backend/cpu/glu_kernels.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "engine/backend/cpu/simd_loop-inl.h"
// clang-format on

#include "engine/backend/cpu/kernel_table.h"
#include "engine/ops/activation.h"

HWY_BEFORE_NAMESPACE();
namespace choir::engine::HWY_NAMESPACE {

// An activation's value, and its slope.
struct Silu {
  template <class D, class V>
  HWY_INLINE void operator()(D d, V x, V& value, V& slope) const {
    const auto sigmoid = Sigmoid(d, x);
    value = hn::Mul(x, sigmoid);
    // s + x s (1 - s)
    slope = hn::MulAdd(value, hn::Sub(hn::Set(d, 1.0F), sigmoid), sigmoid);
  }
};

struct GeluTanh {
  template <class D, class V>
  HWY_INLINE void operator()(D d, V x, V& value, V& slope) const {
    const auto kSqrt2OverPi = hn::Set(d, 0.7978845608F);
    const auto kCubic = hn::Set(d, 0.044715F);
    const auto one = hn::Set(d, 1.0F);
    const auto half = hn::Set(d, 0.5F);
    const auto square = hn::Mul(x, x);
    const auto inner = hn::Mul(kSqrt2OverPi, hn::Mul(x, hn::MulAdd(kCubic, square, one)));
    // 0.5 (1 + tanh z) = sigmoid(2 z), without the cancellation near z = -large.
    const auto gate = Sigmoid(d, hn::Add(inner, inner));
    value = hn::Mul(x, gate);
    // d inner / dx = sqrt(2/pi) (1 + 3 * 0.044715 x^2); d gate / dx = 2 gate (1 - gate) d inner
    const auto inner_slope =
        hn::Mul(kSqrt2OverPi, hn::MulAdd(hn::Set(d, 3.0F * 0.044715F), square, one));
    const auto gate_slope = hn::Mul(hn::Mul(gate, hn::Sub(one, gate)), inner_slope);
    slope = hn::MulAdd(hn::Mul(x, gate_slope), hn::Div(one, half), gate);
  }
};

struct ReluSquared {
  template <class D, class V>
  HWY_INLINE void operator()(D d, V x, V& value, V& slope) const {
    const auto positive = hn::Max(x, hn::Zero(d));
    value = hn::Mul(positive, positive);
    slope = hn::Add(positive, positive);
  }
};

template <class Activate>
HWY_INLINE void Forward(const float* gate, const float* up, float* y, size_t n) {
  ForEachVector(n, [=](auto d, size_t i) HWY_ATTR {
    const auto g = hn::LoadU(d, gate + i);
    auto value = g;
    auto slope = g;
    Activate()(d, g, value, slope);
    hn::StoreU(hn::Mul(value, hn::LoadU(d, up + i)), d, y + i);
  });
}

template <class Activate>
HWY_INLINE void Backward(const float* dy, const float* gate, const float* up, float* dgate,
                         float* dup, size_t n) {
  ForEachVector(n, [=](auto d, size_t i) HWY_ATTR {
    const auto g = hn::LoadU(d, gate + i);
    auto value = g;
    auto slope = g;
    Activate()(d, g, value, slope);
    const auto dy_i = hn::LoadU(d, dy + i);
    hn::StoreU(hn::Mul(hn::Mul(dy_i, hn::LoadU(d, up + i)), slope), d, dgate + i);
    hn::StoreU(hn::Mul(dy_i, value), d, dup + i);
  });
}

void GluForward(Activation activation, const float* gate, const float* up, float* y, size_t n) {
  switch (activation) {
    case Activation::kSilu:
      return Forward<Silu>(gate, up, y, n);
    case Activation::kGeluTanh:
      return Forward<GeluTanh>(gate, up, y, n);
    case Activation::kReluSquared:
      return Forward<ReluSquared>(gate, up, y, n);
  }
}

void GluGradient(Activation activation, const float* dy, const float* gate, const float* up,
                 float* dgate, float* dup, size_t n) {
  switch (activation) {
    case Activation::kSilu:
      return Backward<Silu>(dy, gate, up, dgate, dup, n);
    case Activation::kGeluTanh:
      return Backward<GeluTanh>(dy, gate, up, dgate, dup, n);
    case Activation::kReluSquared:
      return Backward<ReluSquared>(dy, gate, up, dgate, dup, n);
  }
}

}  // namespace choir::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace choir::engine {
namespace {

HWY_EXPORT(GluForward);
HWY_EXPORT(GluGradient);

constexpr int64_t kElementsPerTask = 8192;

absl::StatusOr<CpuProgram> PrepareGlu(const CpuCall& call, CpuCompiler& /*compiler*/) {
  const auto activation = static_cast<Activation>(call.attrs.Int("act"));
  const float* const gate = call.inputs[0].f32();
  const float* const up = call.inputs[1].f32();
  float* const y = call.outputs[0].f32();
  const int64_t count = call.outputs[0].desc.shape.NumElements();
  return [=](CpuRun& run) {
    run.ParallelRanges(count, kElementsPerTask, [&](int64_t begin, int64_t end, int) {
      HWY_DYNAMIC_DISPATCH(GluForward)
      (activation, gate + begin, up + begin, y + begin, static_cast<size_t>(end - begin));
    });
    return absl::OkStatus();
  };
}

absl::StatusOr<CpuProgram> PrepareGluBackward(const CpuCall& call, CpuCompiler& /*compiler*/) {
  const auto activation = static_cast<Activation>(call.attrs.Int("act"));
  const float* const dy = call.inputs[0].f32();
  const float* const gate = call.inputs[1].f32();
  const float* const up = call.inputs[2].f32();
  float* const dgate = call.outputs[0].f32();
  float* const dup = call.outputs[1].f32();
  const int64_t count = call.outputs[0].desc.shape.NumElements();
  return [=](CpuRun& run) {
    run.ParallelRanges(count, kElementsPerTask, [&](int64_t begin, int64_t end, int) {
      HWY_DYNAMIC_DISPATCH(GluGradient)
      (activation, dy + begin, gate + begin, up + begin, dgate + begin, dup + begin,
       static_cast<size_t>(end - begin));
    });
    return absl::OkStatus();
  };
}

}  // namespace

const CpuKernel kGluCpuKernel = {PrepareGlu};
const CpuKernel kGluBackwardCpuKernel = {PrepareGluBackward};

}  // namespace choir::engine
#endif  // HWY_ONCE
