// A loop of block_dots.cc for processors that multiply bytes (AVX512-VNNI): a weight is one
// unsigned byte, and an instruction adds up four products with signed bytes of the vector. Half the
// arithmetic of dot_formats-inl.h. For ternary weights, whose models were trained with activations
// of eight bits; others keep 16 (docs/decisions/0029-byte-vectors-for-ternary-weights.md).
//
// A step is one block, whose weights are kVectors vectors of 64 bytes. A lane of the sums covers a
// quad, four bytes of each of these vectors; the elements that they stand for share a scale of the
// prepared vector, so its scales are fine at no cost.

#if defined(CHOIR_ENGINE_BACKEND_CPU_BYTE_FORMATS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CHOIR_ENGINE_BACKEND_CPU_BYTE_FORMATS_INL_H_
#undef CHOIR_ENGINE_BACKEND_CPU_BYTE_FORMATS_INL_H_
#else
#define CHOIR_ENGINE_BACKEND_CPU_BYTE_FORMATS_INL_H_
#endif

#include <cstddef>
#include <cstdint>

#include "engine/backend/cpu/dot_formats-inl.h"

HWY_BEFORE_NAMESPACE();
#if HWY_TARGET == HWY_AVX3_DL
namespace choir::engine::HWY_NAMESPACE {

using Bytes = hn::Vec<Tag8>;
using TagI8 = hn::Full512<int8_t>;
constexpr size_t kQuads = 16;  // of a vector: lanes of its sums

// One step's share of the vector.
template <class Format>
struct alignas(64) ByteStep {
  int8_t q[Format::kVectors][64];
  int32_t start[kQuads];  // -offset times the bytes of each quad
  float scales[kQuads];
};

HWY_INLINE Ints AddByteProducts(Ints sum, Bytes weights, hn::Vec<TagI8> x) {
  // Highway 1.0 has no name for it.
  asm("vpdpbusd %2, %1, %0" : "+v"(sum.raw) : "v"(weights.raw), "vm"(x.raw));
  return sum;
}
HWY_INLINE Ints AddByteProducts(Ints sum, Bytes weights, const int8_t* x) {
  return AddByteProducts(sum, weights, hn::Load(TagI8(), x));
}
HWY_INLINE Bytes Mask8(uint8_t bits) {
  return hn::Set(Tag8(), bits);
}
template <int kShift>
HWY_INLINE Bytes ShiftBytes(Bytes v) {
  return hn::BitCast(Tag8(), hn::ShiftRight<kShift>(hn::BitCast(Tag16(), v)));
}
// 32-byte halves: a load of 64 bytes that lie in two lines takes several times as long on Zen 5.
HWY_INLINE Bytes LoadHalves(const uint8_t* low, const uint8_t* high) {
  const hn::Full256<uint8_t> half;
  return hn::Combine(Tag8(), hn::LoadU(half, high), hn::LoadU(half, low));
}
// The sum in units of the prepared vector's elements, lane by lane.
template <class Step>
HWY_INLINE Floats Scaled(Ints sum, const Step& x) {
  return hn::Mul(hn::ConvertTo(TagF32(), sum), hn::Load(TagF32(), x.scales));
}
// Lane i gets lane first + i / 4.
HWY_INLINE Floats SpreadQuads(Floats v, int32_t first) {
  const TagI32 di;
  const auto lanes = hn::Add(hn::ShiftRight<2>(hn::Iota(di, 0)), hn::Set(di, first));
  return hn::TableLookupLanes(v, hn::IndicesFromVec(TagF32(), lanes));
}
// The sums of a row's lanes, for four rows; a row's does not depend on its neighbours.
HWY_INLINE void StoreFourRows(Floats a, Floats b, Floats c, Floats e, float* out) {
  const TagF32 d;
  const auto fold = [d](Floats v, Floats w) HWY_ATTR {
    return hn::Add(hn::InterleaveLower(d, v, w), hn::InterleaveUpper(d, v, w));
  };
  const hn::Full512<double> dd;
  const auto ab = hn::BitCast(dd, fold(a, b));
  const auto ce = hn::BitCast(dd, fold(c, e));
  const auto all = hn::Add(hn::BitCast(d, hn::InterleaveLower(dd, ab, ce)),
                           hn::BitCast(d, hn::InterleaveUpper(dd, ab, ce)));
  const hn::Full256<float> half;
  const auto folded = hn::Add(hn::LowerHalf(half, all), hn::UpperHalf(half, all));
  const hn::Full128<float> quarter;
  hn::StoreU(hn::Add(hn::LowerHalf(quarter, folded), hn::UpperHalf(quarter, folded)), quarter, out);
}

struct Tq2_0Bytes {
  static constexpr size_t kBlockElements = 256;
  static constexpr size_t kBlockBytes = 66;
  static constexpr size_t kVectors = 4;
  static constexpr int kOffset = 1;
  static HWY_INLINE Floats Elements(const float* x, size_t vector, size_t part) {
    return hn::LoadU(TagF32(), x + part / 2 * 128 + vector * 32 + part % 2 * 16);
  }

  static HWY_INLINE Floats Add(const uint8_t* block, const ByteStep<Tq2_0Bytes>& x, Floats total) {
    const Bytes v = LoadHalves(block, block + 32);
    Ints sum = AddByteProducts(hn::Load(TagI32(), x.start), hn::And(v, Mask8(3)), x.q[0]);
    sum = AddByteProducts(sum, hn::And(ShiftBytes<2>(v), Mask8(3)), x.q[1]);
    sum = AddByteProducts(sum, hn::And(ShiftBytes<4>(v), Mask8(3)), x.q[2]);
    sum = AddByteProducts(sum, hn::And(ShiftBytes<6>(v), Mask8(3)), x.q[3]);
    return hn::MulAdd(Scaled(sum, x), ScaleAt(block + 64, 1), total);
  }
};

// The largest magnitude of each quad's elements; NaN where one of them is not finite.
template <class Format>
HWY_INLINE Floats LargestOfQuads(const float* x) {
  const TagF32 d;
  Floats quads[4];
  for (size_t i = 0; i < 4; ++i) {
    auto max = hn::Zero(d);
    auto poison = hn::Zero(d);
    for (size_t v = 0; v < Format::kVectors; ++v) {
      const auto elements = Format::Elements(x, v, i);
      max = hn::Max(max, hn::Abs(elements));
      poison = hn::MulAdd(elements, hn::Zero(d), poison);
    }
    max = hn::Add(max, poison);  // of a finite x it is zero
    max = hn::Max(max, hn::Shuffle2301(max));
    max = hn::Max(max, hn::Shuffle1032(max));
    poison = hn::Add(poison, hn::Shuffle2301(poison));
    quads[i] = hn::Add(max, hn::Add(poison, hn::Shuffle1032(poison)));
  }
  const auto low = hn::ConcatEven(d, quads[1], quads[0]);
  const auto high = hn::ConcatEven(d, quads[3], quads[2]);
  return hn::ConcatEven(d, high, low);
}

// 64 small integers as bytes.
HWY_INLINE hn::Vec<TagI8> ToBytes(const Ints* quarters) {
  const hn::Rebind<int8_t, TagI32> d;
  const hn::Full256<int8_t> half;
  const auto pair = [=](size_t i) HWY_ATTR {
    return hn::Combine(half, hn::DemoteTo(d, quarters[i + 1]), hn::DemoteTo(d, quarters[i]));
  };
  return hn::Combine(TagI8(), pair(2), pair(0));
}

template <class Format>
HWY_INLINE void PrepareStep(const float* x, ByteStep<Format>& step) {
  const TagF32 d;
  constexpr float kLargestInteger = 127;
  const Floats largest = LargestOfQuads<Format>(x);
  hn::Store(hn::Mul(largest, hn::Set(d, 1 / kLargestInteger)), d, step.scales);
  // The smallest normal numbers have no finite inverse; they count as zero, and so does NaN.
  const auto inverse = hn::IfThenElseZero(hn::Gt(largest, hn::Set(d, 1e-30F)),
                                          hn::Div(hn::Set(d, kLargestInteger), largest));
  const Bytes offset = Mask8(Format::kOffset);
  Ints start = hn::Zero(TagI32());
  for (size_t v = 0; v < Format::kVectors; ++v) {
    Ints whole[4];
    for (size_t i = 0; i < 4; ++i) {
      const auto units = SpreadQuads(inverse, static_cast<int32_t>(i * 4));
      whole[i] = hn::NearestInt(hn::Mul(Format::Elements(x, v, i), units));
    }
    const auto bytes = ToBytes(whole);
    hn::Store(bytes, TagI8(), step.q[v]);
    start = AddByteProducts(start, offset, bytes);
  }
  hn::Store(hn::Neg(start), TagI32(), step.start);
}

template <class Format>
void PrepareBytes(const float* x, size_t cols, uint8_t* prepared) {
  auto* step = reinterpret_cast<ByteStep<Format>*>(prepared);
  for (const float* end = x + cols; x != end; x += Format::kBlockElements, ++step) {
    PrepareStep(x, *step);
  }
}

template <class Format>
HWY_INLINE Floats ByteRow(const ByteStep<Format>* x, const uint8_t* row, size_t blocks) {
  Floats total = hn::Zero(TagF32());
  for (size_t b = 0; b < blocks; ++b, row += Format::kBlockBytes) {
    FetchAhead<Format::kBlockBytes>(row);
    total = Format::Add(row, x[b], total);
  }
  return total;
}

template <class Format>
void ByteRows(const uint8_t* prepared, const uint8_t* rows, size_t num_rows, size_t cols,
              float* out) {
  const auto* const x = reinterpret_cast<const ByteStep<Format>*>(prepared);
  const size_t blocks = cols / Format::kBlockElements;
  const size_t row_bytes = blocks * Format::kBlockBytes;
  size_t r = 0;
  for (; r + 4 <= num_rows; r += 4, rows += 4 * row_bytes) {
    // In memory's order, which arguments of a call need not be evaluated in.
    const Floats first = ByteRow<Format>(x, rows, blocks);
    const Floats second = ByteRow<Format>(x, rows + row_bytes, blocks);
    const Floats third = ByteRow<Format>(x, rows + 2 * row_bytes, blocks);
    const Floats fourth = ByteRow<Format>(x, rows + 3 * row_bytes, blocks);
    StoreFourRows(first, second, third, fourth, out + r);
  }
  for (; r < num_rows; ++r, rows += row_bytes) {
    float sums[4];
    const Floats zero = hn::Zero(TagF32());
    StoreFourRows(ByteRow<Format>(x, rows, blocks), zero, zero, zero, sums);
    out[r] = sums[0];
  }
}

}  // namespace choir::engine::HWY_NAMESPACE
#endif  // HWY_TARGET == HWY_AVX3_DL
HWY_AFTER_NAMESPACE();

#endif  // CHOIR_ENGINE_BACKEND_CPU_BYTE_FORMATS_INL_H_
