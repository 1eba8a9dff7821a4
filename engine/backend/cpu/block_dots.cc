#include "engine/backend/cpu/block_dots.h"

// clang-format off
#define HWY_WANT_AVX3_DL  // for its dot products of integers
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/backend/cpu/block_dots.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "engine/backend/cpu/simd_loop-inl.h"
#include "engine/backend/cpu/dot_formats-inl.h"
#include "engine/backend/cpu/byte_formats-inl.h"
// clang-format on

#include <algorithm>
#include <cstring>

#include "base/check.h"

#ifndef CHOIR_ENGINE_BACKEND_CPU_DOT_LOOP_
#define CHOIR_ENGINE_BACKEND_CPU_DOT_LOOP_
namespace choir::engine {

struct DotLoop {
  void (*prepare)(const float* x, size_t cols, uint8_t* prepared);
  void (*run)(const uint8_t* prepared, const uint8_t* rows, size_t num_rows, size_t cols,
              float* out);
  size_t step_elements;
  size_t step_bytes;  // of the prepared vector
};

}  // namespace choir::engine
#endif

HWY_BEFORE_NAMESPACE();
namespace choir::engine::HWY_NAMESPACE {
#if HWY_TARGET == HWY_SCALAR

// A processor without vectors takes the way of all other formats.
const DotLoop* GetLoop(size_t /*format*/, DotPrecision /*precision*/) {
  return nullptr;
}

#else

// One element of a float format. The vector stays as it is.
struct F32Dot {
  using Element = float;
  template <class D>
  static HWY_INLINE hn::Vec<D> Load(D d, const Element* at) {
    return hn::LoadU(d, at);
  }
};
struct F16Dot {
  using Element = hwy::float16_t;
  template <class D>
  static HWY_INLINE hn::Vec<D> Load(D d, const Element* at) {
    return hn::PromoteTo(d, hn::LoadU(hn::Rebind<hwy::float16_t, D>(), at));
  }
};
struct Bf16Dot {
  using Element = uint16_t;
  template <class D>
  static HWY_INLINE hn::Vec<D> Load(D d, const Element* at) {
    const hn::RebindToUnsigned<D> du;
    const auto bits = hn::PromoteTo(du, hn::LoadU(hn::Rebind<uint16_t, D>(), at));
    return hn::BitCast(d, hn::ShiftLeft<16>(bits));
  }
};

template <class Format>
void FloatRows(const uint8_t* prepared, const uint8_t* rows, size_t num_rows, size_t cols,
               float* out) {
  using Element = typename Format::Element;
  const auto* const x = reinterpret_cast<const float*>(prepared);
  const auto* row = reinterpret_cast<const Element*>(rows);
  for (size_t r = 0; r < num_rows; ++r, row += cols) {
    out[r] = SumOverVectors(cols, [=](auto d, size_t i) HWY_ATTR {
      return hn::Mul(Format::Load(d, row + i), hn::LoadU(d, x + i));
    });
  }
}

template <class Format, int kLimbs>
void BlockRows(const uint8_t* prepared, const uint8_t* rows, size_t num_rows, size_t cols,
               float* out) {
  using Step = StepVector<Format, kLimbs>;
  const auto* const x = reinterpret_cast<const Step*>(prepared);
  const size_t steps = cols / Format::kStepElements;
  // Blocks that do not fill a step, and after them blocks of zeros.
  const size_t rest_bytes =
      cols % Format::kStepElements / Format::kScaleElements * Format::kBlockBytes;
  for (size_t r = 0; r < num_rows; ++r) {
    typename Format::Row row;
    for (size_t s = 0; s < steps; ++s, rows += Format::kStepBytes) {
      FetchAhead<Format::kStepBytes>(rows);
      Format::AddStep(rows, x[s], row);
    }
    if (rest_bytes != 0) {
      uint8_t rest[Format::kStepBytes] = {};
      std::memcpy(rest, rows, rest_bytes);
      Format::AddStep(rest, x[steps], row);
      rows += rest_bytes;
    }
    out[r] = row.Value();
  }
}

// x as integers in its own order, element by element; returns their unit. An infinity or a NaN
// makes that NaN, and so every product.
template <int kLimbs>
HWY_INLINE float ToIntegers(const float* x, size_t n, int16_t* upper, int16_t* lower) {
  const hn::CappedTag<float, 16> d;
  const hn::Rebind<int16_t, decltype(d)> d16;
  auto largest = hn::Zero(d);
  auto poison = hn::Zero(d);
  for (size_t i = 0; i < n; i += hn::Lanes(d)) {
    const auto v = hn::LoadU(d, x + i);
    largest = hn::Max(largest, hn::Abs(v));
    poison = hn::MulAdd(v, hn::Zero(d), poison);
  }
  constexpr float kLargest = 32767;
  const float max = hn::GetLane(hn::MaxOfLanes(d, largest));
  const float not_finite = hn::GetLane(hn::SumOfLanes(d, poison));
  // The smallest normal numbers have no finite inverse; they count as zero.
  const float inverse = max > 1e-30F && not_finite == 0 ? kLargest / max : 0;
  for (size_t i = 0; i < n; i += hn::Lanes(d)) {
    const auto scaled = hn::Mul(hn::LoadU(d, x + i), hn::Set(d, inverse));
    const auto whole = hn::NearestInt(scaled);
    hn::StoreU(hn::DemoteTo(d16, whole), d16, upper + i);
    if constexpr (kLimbs == 2) {
      const auto rest = hn::Sub(scaled, hn::ConvertTo(d, whole));
      const auto part = hn::NearestInt(hn::Mul(rest, hn::Set(d, 32768.0F)));
      hn::StoreU(hn::DemoteTo(d16, part), d16, lower + i);
    }
  }
  return max / kLargest / (kLimbs == 2 ? 32768 : 1) + not_finite;
}

// What the sums of a step start from.
template <class Format>
HWY_INLINE void SumOffsets(const int16_t* q, int32_t* start) {
  const TagI16 d16;
  const TagI32 d32;
  std::memset(start, 0, Format::kSums * sizeof(*start));
  const auto offset = hn::Set(d16, static_cast<int16_t>(-Format::kOffset));
  for (size_t p = 0; p < Format::kPlaces; p += kLanes16) {
    int32_t* const sum = start + Format::SumOf(p);
    auto other = hn::Zero(d32);
    const auto products =
        hn::ReorderWidenMulAccumulate(d32, hn::Load(d16, q + p), offset, hn::Load(d32, sum), other);
    hn::Store(hn::Add(products, other), d32, sum);
  }
}

// Of each 32 elements, in the unit of the integers.
template <int kLimbs>
HWY_INLINE void SumGroups(const int16_t* upper, const int16_t* lower, size_t n, float* sums) {
  for (size_t g = 0; g < n / 32; ++g) {
    int32_t high = 0;
    int32_t low = 0;
    for (size_t i = 0; i < 32; ++i) {
      high += upper[g * 32 + i];
      if constexpr (kLimbs == 2) low += lower[g * 32 + i];
    }
    sums[g] = static_cast<float>(high) * (kLimbs == 2 ? 32768.0F : 1.0F) + static_cast<float>(low);
  }
}

template <class Format, int kLimbs>
void PrepareVector(const float* x, size_t cols, uint8_t* prepared) {
  constexpr size_t kElements = Format::kStepElements;
  auto* step = reinterpret_cast<StepVector<Format, kLimbs>*>(prepared);
  alignas(64) int16_t q[kLimbs][kElements];
  for (size_t begin = 0; begin < cols; begin += kElements, ++step) {
    const float* from = x + begin;
    float rest[kElements];
    if (cols - begin < kElements) {
      std::fill(std::copy(from, x + cols, rest), rest + kElements, 0.0F);
      from = rest;
    }
    for (size_t i = 0; i < kElements; i += Format::kScaleElements) {
      step->scales[i / Format::kScaleElements] =
          ToIntegers<kLimbs>(from + i, Format::kScaleElements, q[0] + i, q[kLimbs - 1] + i);
    }
    for (int limb = 0; limb < kLimbs; ++limb) {
      Format::Place(q[limb], step->q[limb]);
      if constexpr (Format::kOffset != 0) SumOffsets<Format>(step->q[limb], step->start[limb]);
    }
    if constexpr (Format::kHasMinimums) {
      SumGroups<kLimbs>(q[0], q[kLimbs - 1], kElements, step->sums);
    }
  }
}

void PrepareFloats(const float* x, size_t cols, uint8_t* prepared) {
  std::memcpy(prepared, x, cols * sizeof(float));
}

template <class Format, int kLimbs>
constexpr DotLoop BlockLoop() {
  return {&PrepareVector<Format, kLimbs>, &BlockRows<Format, kLimbs>, Format::kStepElements,
          sizeof(StepVector<Format, kLimbs>)};
}
template <class Format>
constexpr DotLoop FloatLoop() {
  return {&PrepareFloats, &FloatRows<Format>, 16, 16 * sizeof(float)};
}

// Ternary weights: products of bytes, where the processor has them.
#if HWY_TARGET == HWY_AVX3_DL
constexpr DotLoop kTernaryLoop = {&PrepareBytes<Tq2_0Bytes>, &ByteRows<Tq2_0Bytes>,
                                  Tq2_0Bytes::kBlockElements, sizeof(ByteStep<Tq2_0Bytes>)};
#else
constexpr DotLoop kTernaryLoop = BlockLoop<Tq2_0Dot, 1>();
#endif

// In the order of kFormats, below; by precision.
constexpr DotLoop kLoops[][2] = {
    {FloatLoop<F32Dot>(), FloatLoop<F32Dot>()},
    {FloatLoop<F16Dot>(), FloatLoop<F16Dot>()},
    {FloatLoop<Bf16Dot>(), FloatLoop<Bf16Dot>()},
    {BlockLoop<Q8_0Dot, 1>(), BlockLoop<Q8_0Dot, 2>()},
    {BlockLoop<Q4_0Dot, 1>(), BlockLoop<Q4_0Dot, 2>()},
    {BlockLoop<Q4_KDot, 1>(), BlockLoop<Q4_KDot, 2>()},
    {BlockLoop<Q6_KDot, 1>(), BlockLoop<Q6_KDot, 2>()},
    {kTernaryLoop, BlockLoop<Tq2_0Dot, 2>()},
    {BlockLoop<Tq1_0Dot, 1>(), BlockLoop<Tq1_0Dot, 2>()},
};

const DotLoop* GetLoop(size_t format, DotPrecision precision) {
  return &kLoops[format][precision == DotPrecision::k31Bits ? 1 : 0];
}

#endif  // HWY_TARGET != HWY_SCALAR

}  // namespace choir::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace choir::engine {
namespace {

HWY_EXPORT(GetLoop);

constexpr const WeightFormat* kFormats[] = {
    &kF32Format,  &kF16Format,  &kBF16Format,  &kQ8_0Format,  &kQ4_0Format,
    &kQ4_KFormat, &kQ6_KFormat, &kTQ2_0Format, &kTQ1_0Format,
};

size_t IndexOf(const WeightFormat& format) {
  const auto* const end = std::end(kFormats);
  return static_cast<size_t>(std::find(std::begin(kFormats), end, &format) - std::begin(kFormats));
}

}  // namespace

bool BlockDots::Has(const WeightFormat& format) {
  const size_t index = IndexOf(format);
  return index < std::size(kFormats) &&
         HWY_DYNAMIC_DISPATCH(GetLoop)(index, DotPrecision::k31Bits) != nullptr;
}

BlockDots::BlockDots(const WeightFormat& format, int64_t cols, DotPrecision precision)
    : cols_(cols) {
  CHOIR_CHECK(Has(format));
  loop_ = HWY_DYNAMIC_DISPATCH(GetLoop)(IndexOf(format), precision);
  const auto elements = static_cast<int64_t>(loop_->step_elements);
  prepared_bytes_ = (cols + elements - 1) / elements * static_cast<int64_t>(loop_->step_bytes);
}

void BlockDots::Prepare(const float* x, uint8_t* prepared) const {
  loop_->prepare(x, static_cast<size_t>(cols_), prepared);
}

void BlockDots::Run(const uint8_t* prepared, const uint8_t* rows, int64_t num_rows,
                    float* out) const {
  loop_->run(prepared, rows, static_cast<size_t>(num_rows), static_cast<size_t>(cols_), out);
}

}  // namespace choir::engine
#endif  // HWY_ONCE
