// Loops over float arrays with Highway, whole vectors first and then element by element, so that
// nothing outside an array is touched. Included once for each instruction set (see Highway's
// foreach_target.h).

#if defined(CHOIR_ENGINE_BACKEND_CPU_SIMD_LOOP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CHOIR_ENGINE_BACKEND_CPU_SIMD_LOOP_INL_H_
#undef CHOIR_ENGINE_BACKEND_CPU_SIMD_LOOP_INL_H_
#else
#define CHOIR_ENGINE_BACKEND_CPU_SIMD_LOOP_INL_H_
#endif

#include <cstddef>
#include <cstdint>

#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace choir::engine::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::ScalableTag<float>;
using SingleTag = hn::CappedTag<float, 1>;

// body(tag, i): elements i .. i + Lanes(tag) - 1. Lambdas need HWY_ATTR.
template <class Body>
HWY_INLINE void ForEachVector(size_t n, const Body& body) {
  const FloatTag d;
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) body(d, i);
  for (; i < n; ++i) body(SingleTag(), i);
}

// Sum of term(tag, i) over all elements, with four independent partial sums.
template <class Term>
HWY_INLINE float SumOverVectors(size_t n, const Term& term) {
  const FloatTag d;
  const size_t lanes = hn::Lanes(d);
  auto sum0 = hn::Zero(d);
  auto sum1 = hn::Zero(d);
  auto sum2 = hn::Zero(d);
  auto sum3 = hn::Zero(d);
  size_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    sum0 = hn::Add(sum0, term(d, i));
    sum1 = hn::Add(sum1, term(d, i + lanes));
    sum2 = hn::Add(sum2, term(d, i + 2 * lanes));
    sum3 = hn::Add(sum3, term(d, i + 3 * lanes));
  }
  for (; i + lanes <= n; i += lanes) sum0 = hn::Add(sum0, term(d, i));
  const auto sum = hn::Add(hn::Add(sum0, sum1), hn::Add(sum2, sum3));
  float result = hn::GetLane(hn::SumOfLanes(d, sum));
  for (; i < n; ++i) result += hn::GetLane(term(SingleTag(), i));
  return result;
}

template <class D, class V>
HWY_INLINE V Sigmoid(D d, V x) {
  const auto one = hn::Set(d, 1.0F);
  return hn::Div(one, hn::Add(one, hn::Exp(d, hn::Neg(x))));
}

}  // namespace choir::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // CHOIR_ENGINE_BACKEND_CPU_SIMD_LOOP_INL_H_
