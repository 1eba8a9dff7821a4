#include "engine/backend/cpu/vector_math.h"

// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/backend/cpu/vector_math.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "engine/backend/cpu/simd_loop-inl.h"
// clang-format on

#include "engine/quant/half.h"

HWY_BEFORE_NAMESPACE();
namespace choir::engine::HWY_NAMESPACE {

float Dot(const float* a, const float* b, size_t n) {
  const FloatTag d;
  const size_t lanes = hn::Lanes(d);
  auto sum0 = hn::Zero(d);
  auto sum1 = hn::Zero(d);
  auto sum2 = hn::Zero(d);
  auto sum3 = hn::Zero(d);
  size_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    sum0 = hn::MulAdd(hn::LoadU(d, a + i), hn::LoadU(d, b + i), sum0);
    sum1 = hn::MulAdd(hn::LoadU(d, a + i + lanes), hn::LoadU(d, b + i + lanes), sum1);
    sum2 = hn::MulAdd(hn::LoadU(d, a + i + 2 * lanes), hn::LoadU(d, b + i + 2 * lanes), sum2);
    sum3 = hn::MulAdd(hn::LoadU(d, a + i + 3 * lanes), hn::LoadU(d, b + i + 3 * lanes), sum3);
  }
  for (; i + lanes <= n; i += lanes) {
    sum0 = hn::MulAdd(hn::LoadU(d, a + i), hn::LoadU(d, b + i), sum0);
  }
  const auto sum = hn::Add(hn::Add(sum0, sum1), hn::Add(sum2, sum3));
  float result = hn::GetLane(hn::SumOfLanes(d, sum));
  for (; i < n; ++i) result += a[i] * b[i];
  return result;
}

float SquareSum(const float* x, size_t n) {
  return SumOverVectors(n, [x](auto d, size_t i) HWY_ATTR {
    const auto v = hn::LoadU(d, x + i);
    return hn::Mul(v, v);
  });
}

void AddAll(const float* a, const float* b, float* out, size_t n) {
  ForEachVector(n, [=](auto d, size_t i) HWY_ATTR {
    hn::StoreU(hn::Add(hn::LoadU(d, a + i), hn::LoadU(d, b + i)), d, out + i);
  });
}

void ScaleAll(const float* x, float factor, float* out, size_t n) {
  ForEachVector(n, [=](auto d, size_t i) HWY_ATTR {
    hn::StoreU(hn::Mul(hn::LoadU(d, x + i), hn::Set(d, factor)), d, out + i);
  });
}

void CombineAll(float a, const float* x, float b, const float* y, float* out, size_t n) {
  ForEachVector(n, [=](auto d, size_t i) HWY_ATTR {
    const auto scaled = hn::Mul(hn::Set(d, a), hn::LoadU(d, x + i));
    hn::StoreU(hn::MulAdd(hn::Set(d, b), hn::LoadU(d, y + i), scaled), d, out + i);
  });
}

// The upper 16 bits of the result are the bfloat16.
template <class D>
HWY_INLINE hn::Vec<hn::RebindToUnsigned<D>> RoundedBits(D /*d*/, hn::Vec<D> v) {
  const hn::RebindToUnsigned<D> du;
  const auto bits = hn::BitCast(du, v);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1u));
  const auto rounded = hn::Add(bits, hn::Add(odd, hn::Set(du, 0x7fffu)));
  const auto quiet = hn::Or(bits, hn::Set(du, 0x400000u));
  return hn::IfThenElse(hn::RebindMask(du, hn::IsNaN(v)), quiet, rounded);
}

void ToBf16(const float* x, uint16_t* out, size_t n) {
  ForEachVector(n, [=](auto d, size_t i) HWY_ATTR {
    const hn::Rebind<uint16_t, decltype(d)> d16;
    const hn::RebindToSigned<decltype(d)> di;
    const auto upper = hn::ShiftRight<16>(RoundedBits(d, hn::LoadU(d, x + i)));
    hn::StoreU(hn::DemoteTo(d16, hn::BitCast(di, upper)), d16, out + i);
  });
}

void ToF16(const float* x, uint16_t* out, size_t n) {
#if HWY_TARGET <= HWY_AVX2 || HWY_ARCH_ARM
  ForEachVector(n, [=](auto d, size_t i) HWY_ATTR {
    const hn::Rebind<hwy::float16_t, decltype(d)> d16;
    const auto halves = hn::DemoteTo(d16, hn::LoadU(d, x + i));
    hn::StoreU(halves, d16, reinterpret_cast<hwy::float16_t*>(out + i));
  });
#else
  // Without an instruction of the processor's, Highway would cut bits off instead of rounding.
  for (size_t i = 0; i < n; ++i) out[i] = F32ToF16(x[i]);
#endif
}

void RoundBf16(const float* x, float* out, size_t n) {
  ForEachVector(n, [=](auto d, size_t i) HWY_ATTR {
    const hn::RebindToUnsigned<decltype(d)> du;
    const auto bits = RoundedBits(d, hn::LoadU(d, x + i));
    hn::StoreU(hn::BitCast(d, hn::And(bits, hn::Set(du, 0xffff0000u))), d, out + i);
  });
}

}  // namespace choir::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace choir::engine {

HWY_EXPORT(Dot);
HWY_EXPORT(SquareSum);
HWY_EXPORT(AddAll);
HWY_EXPORT(ScaleAll);
HWY_EXPORT(CombineAll);
HWY_EXPORT(ToBf16);
HWY_EXPORT(ToF16);
HWY_EXPORT(RoundBf16);

float DotProduct(const float* a, const float* b, size_t n) {
  return HWY_DYNAMIC_DISPATCH(Dot)(a, b, n);
}
float SumOfSquares(const float* x, size_t n) {
  return HWY_DYNAMIC_DISPATCH(SquareSum)(x, n);
}
void AddVectors(const float* a, const float* b, float* out, size_t n) {
  HWY_DYNAMIC_DISPATCH(AddAll)(a, b, out, n);
}
void ScaleVector(const float* x, float factor, float* out, size_t n) {
  HWY_DYNAMIC_DISPATCH(ScaleAll)(x, factor, out, n);
}
void CombineVectors(float a, const float* x, float b, const float* y, float* out, size_t n) {
  HWY_DYNAMIC_DISPATCH(CombineAll)(a, x, b, y, out, n);
}
void ConvertToBf16(const float* x, uint16_t* out, size_t n) {
  HWY_DYNAMIC_DISPATCH(ToBf16)(x, out, n);
}
void ConvertToF16(const float* x, uint16_t* out, size_t n) {
  HWY_DYNAMIC_DISPATCH(ToF16)(x, out, n);
}
void RoundToBf16(const float* x, float* out, size_t n) {
  HWY_DYNAMIC_DISPATCH(RoundBf16)(x, out, n);
}

}  // namespace choir::engine
#endif  // HWY_ONCE
