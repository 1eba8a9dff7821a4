#include "engine/backend/cpu/row_products.h"

// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/backend/cpu/row_products.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "engine/backend/cpu/simd_loop-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace choir::engine::HWY_NAMESPACE {

using Half = hwy::float16_t;

template <class D>
HWY_INLINE hn::Vec<D> LoadFloats(D d, const float* at) {
  return hn::LoadU(d, at);
}
template <class D>
HWY_INLINE hn::Vec<D> LoadFloats(D d, const Half* at) {
  return hn::PromoteTo(d, hn::LoadU(hn::Rebind<Half, D>(), at));
}

// The products of x with kRows rows: one sum of vectors each, so that a row's result does not
// depend on how many come with it.
template <size_t kRows, class Element>
HWY_INLINE void DotSomeRows(const float* x, const Element* rows, int64_t stride, int64_t cols,
                            float* out) {
  const FloatTag d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto sum0 = hn::Zero(d);
  auto sum1 = hn::Zero(d);
  auto sum2 = hn::Zero(d);
  auto sum3 = hn::Zero(d);
  int64_t c = 0;
  for (; c + lanes <= cols; c += lanes) {
    const auto v = hn::LoadU(d, x + c);
    sum0 = hn::MulAdd(v, LoadFloats(d, rows + c), sum0);
    if constexpr (kRows == 1) continue;
    sum1 = hn::MulAdd(v, LoadFloats(d, rows + stride + c), sum1);
    sum2 = hn::MulAdd(v, LoadFloats(d, rows + 2 * stride + c), sum2);
    sum3 = hn::MulAdd(v, LoadFloats(d, rows + 3 * stride + c), sum3);
  }
  out[0] = hn::GetLane(hn::SumOfLanes(d, sum0));
  if constexpr (kRows == 4) {
    out[1] = hn::GetLane(hn::SumOfLanes(d, sum1));
    out[2] = hn::GetLane(hn::SumOfLanes(d, sum2));
    out[3] = hn::GetLane(hn::SumOfLanes(d, sum3));
  }
  for (size_t r = 0; r < kRows; ++r, rows += stride) {
    for (int64_t i = c; i < cols; ++i) {
      out[r] += x[i] * hn::GetLane(LoadFloats(SingleTag(), rows + i));
    }
  }
}

template <class Element>
HWY_INLINE void DotAllRows(const float* x, const Element* rows, int64_t stride, int64_t num_rows,
                           int64_t cols, float* out) {
  int64_t j = 0;
  for (; j + 4 <= num_rows; j += 4) {
    DotSomeRows<4>(x, rows + j * stride, stride, cols, out + j);
  }
  for (; j < num_rows; ++j) DotSomeRows<1>(x, rows + j * stride, stride, cols, out + j);
}

template <class Element>
HWY_INLINE void AddAllWeighted(const float* weights, const Element* rows, int64_t stride,
                               int64_t num_rows, int64_t cols, float* out) {
  const FloatTag d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t c = 0;
  // Four vectors of the result stay in registers while the rows pass.
  for (; c + 4 * lanes <= cols; c += 4 * lanes) {
    auto sum0 = hn::LoadU(d, out + c);
    auto sum1 = hn::LoadU(d, out + c + lanes);
    auto sum2 = hn::LoadU(d, out + c + 2 * lanes);
    auto sum3 = hn::LoadU(d, out + c + 3 * lanes);
    for (int64_t j = 0; j < num_rows; ++j) {
      const Element* const row = rows + j * stride + c;
      const auto weight = hn::Set(d, weights[j]);
      sum0 = hn::MulAdd(weight, LoadFloats(d, row), sum0);
      sum1 = hn::MulAdd(weight, LoadFloats(d, row + lanes), sum1);
      sum2 = hn::MulAdd(weight, LoadFloats(d, row + 2 * lanes), sum2);
      sum3 = hn::MulAdd(weight, LoadFloats(d, row + 3 * lanes), sum3);
    }
    hn::StoreU(sum0, d, out + c);
    hn::StoreU(sum1, d, out + c + lanes);
    hn::StoreU(sum2, d, out + c + 2 * lanes);
    hn::StoreU(sum3, d, out + c + 3 * lanes);
  }
  const auto rest = static_cast<size_t>(cols - c);
  for (int64_t j = 0; j < num_rows; ++j) {
    const Element* const row = rows + j * stride + c;
    float* const to = out + c;
    ForEachVector(rest, [=](auto tag, size_t i) HWY_ATTR {
      const auto sum =
          hn::MulAdd(hn::Set(tag, weights[j]), LoadFloats(tag, row + i), hn::LoadU(tag, to + i));
      hn::StoreU(sum, tag, to + i);
    });
  }
}

void Dots(const float* x, const float* rows, int64_t stride, int64_t num_rows, int64_t cols,
          float* out) {
  DotAllRows(x, rows, stride, num_rows, cols, out);
}
void HalfDots(const float* x, const uint16_t* rows, int64_t stride, int64_t num_rows, int64_t cols,
              float* out) {
  DotAllRows(x, reinterpret_cast<const Half*>(rows), stride, num_rows, cols, out);
}
void AddWeighted(const float* weights, const float* rows, int64_t stride, int64_t num_rows,
                 int64_t cols, float* out) {
  AddAllWeighted(weights, rows, stride, num_rows, cols, out);
}
void AddWeightedHalves(const float* weights, const uint16_t* rows, int64_t stride, int64_t num_rows,
                       int64_t cols, float* out) {
  AddAllWeighted(weights, reinterpret_cast<const Half*>(rows), stride, num_rows, cols, out);
}

void AddThin(float factor, const float* x, const float* rows, int64_t num_rows, int64_t cols,
             float* out) {
  const hn::CappedTag<float, 8> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t j = 0; j < num_rows; ++j, rows += cols) {
    auto sums = hn::Zero(d);
    int64_t c = 0;
    for (; c + lanes <= cols; c += lanes) {
      sums = hn::MulAdd(hn::LoadU(d, x + c), hn::LoadU(d, rows + c), sums);
    }
    float sum = hn::GetLane(hn::SumOfLanes(d, sums));
    for (; c < cols; ++c) sum += x[c] * rows[c];
    out[j] += factor * sum;
  }
}

}  // namespace choir::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace choir::engine {

HWY_EXPORT(Dots);
HWY_EXPORT(AddWeighted);
HWY_EXPORT(HalfDots);
HWY_EXPORT(AddWeightedHalves);
HWY_EXPORT(AddThin);

void DotRows(const float* x, const float* rows, int64_t stride, int64_t num_rows, int64_t cols,
             float* out) {
  HWY_DYNAMIC_DISPATCH(Dots)(x, rows, stride, num_rows, cols, out);
}
void AddWeightedRows(const float* weights, const float* rows, int64_t stride, int64_t num_rows,
                     int64_t cols, float* out) {
  HWY_DYNAMIC_DISPATCH(AddWeighted)(weights, rows, stride, num_rows, cols, out);
}

void DotRows(const float* x, const uint16_t* rows, int64_t stride, int64_t num_rows, int64_t cols,
             float* out) {
  HWY_DYNAMIC_DISPATCH(HalfDots)(x, rows, stride, num_rows, cols, out);
}
void AddWeightedRows(const float* weights, const uint16_t* rows, int64_t stride, int64_t num_rows,
                     int64_t cols, float* out) {
  HWY_DYNAMIC_DISPATCH(AddWeightedHalves)(weights, rows, stride, num_rows, cols, out);
}
void AddThinProducts(float factor, const float* x, const float* rows, int64_t num_rows,
                     int64_t cols, float* out) {
  HWY_DYNAMIC_DISPATCH(AddThin)(factor, x, rows, num_rows, cols, out);
}

}  // namespace choir::engine
#endif  // HWY_ONCE
