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

void Dots(const float* x, const float* rows, int64_t stride, int64_t num_rows, int64_t cols,
          float* out) {
  for (int64_t j = 0; j < num_rows; ++j) {
    const float* const row = rows + j * stride;
    out[j] = SumOverVectors(static_cast<size_t>(cols), [=](auto d, size_t i) HWY_ATTR {
      return hn::Mul(hn::LoadU(d, x + i), hn::LoadU(d, row + i));
    });
  }
}

void AddWeighted(const float* weights, const float* rows, int64_t stride, int64_t num_rows,
                 int64_t cols, float* out) {
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
      const float* const row = rows + j * stride + c;
      const auto weight = hn::Set(d, weights[j]);
      sum0 = hn::MulAdd(weight, hn::LoadU(d, row), sum0);
      sum1 = hn::MulAdd(weight, hn::LoadU(d, row + lanes), sum1);
      sum2 = hn::MulAdd(weight, hn::LoadU(d, row + 2 * lanes), sum2);
      sum3 = hn::MulAdd(weight, hn::LoadU(d, row + 3 * lanes), sum3);
    }
    hn::StoreU(sum0, d, out + c);
    hn::StoreU(sum1, d, out + c + lanes);
    hn::StoreU(sum2, d, out + c + 2 * lanes);
    hn::StoreU(sum3, d, out + c + 3 * lanes);
  }
  const auto rest = static_cast<size_t>(cols - c);
  for (int64_t j = 0; j < num_rows; ++j) {
    const float* const row = rows + j * stride + c;
    float* const to = out + c;
    ForEachVector(rest, [=](auto tag, size_t i) HWY_ATTR {
      const auto sum =
          hn::MulAdd(hn::Set(tag, weights[j]), hn::LoadU(tag, row + i), hn::LoadU(tag, to + i));
      hn::StoreU(sum, tag, to + i);
    });
  }
}

}  // namespace choir::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace choir::engine {

HWY_EXPORT(Dots);
HWY_EXPORT(AddWeighted);

void DotRows(const float* x, const float* rows, int64_t stride, int64_t num_rows, int64_t cols,
             float* out) {
  HWY_DYNAMIC_DISPATCH(Dots)(x, rows, stride, num_rows, cols, out);
}
void AddWeightedRows(const float* weights, const float* rows, int64_t stride, int64_t num_rows,
                     int64_t cols, float* out) {
  HWY_DYNAMIC_DISPATCH(AddWeighted)(weights, rows, stride, num_rows, cols, out);
}

}  // namespace choir::engine
#endif  // HWY_ONCE
