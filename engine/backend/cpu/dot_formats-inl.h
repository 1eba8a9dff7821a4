// What each weight format adds to block_dots.cc: how a step of its blocks comes apart into 16-bit
// integers, and how their products are scaled. Included once for each instruction set.
//
// A vector of bytes is seen as 16-bit lanes, each of two bytes; a mask takes the first one's bits,
// a shift the second one's. So a field of `kFields` a byte gives two vectors of integers, the
// weights of even and of odd bytes. The layouts of the blocks are told in engine/quant/<format>.cc.

#if defined(CHOIR_ENGINE_BACKEND_CPU_DOT_FORMATS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CHOIR_ENGINE_BACKEND_CPU_DOT_FORMATS_INL_H_
#undef CHOIR_ENGINE_BACKEND_CPU_DOT_FORMATS_INL_H_
#else
#define CHOIR_ENGINE_BACKEND_CPU_DOT_FORMATS_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
#if HWY_TARGET != HWY_SCALAR
namespace choir::engine::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Elsewhere than on x86 a vector must not hold two groups of weights: pairs of products are summed
// in an order of the instruction set's own.
#if HWY_ARCH_X86
constexpr size_t kBytes = HWY_MAX_BYTES;
#else
constexpr size_t kBytes = 16;
#endif
constexpr size_t kLanes16 = kBytes / 2;
constexpr size_t kLanes32 = kBytes / 4;

using Tag8 = hn::CappedTag<uint8_t, kBytes>;
using Tag16 = hn::CappedTag<uint16_t, kLanes16>;
using TagI16 = hn::CappedTag<int16_t, kLanes16>;
using TagI32 = hn::CappedTag<int32_t, kLanes32>;
using TagF32 = hn::CappedTag<float, kLanes32>;
using Bits = hn::Vec<Tag16>;
using Ints = hn::Vec<TagI32>;
using Floats = hn::Vec<TagF32>;

// One step's share of the vector. kPlaces integers, of which some may stand for no element and be
// zero; kSums sums that a format with an offset starts from: -offset times the integers.
template <class Format, int kLimbs>
struct alignas(64) StepVector {
  int16_t q[kLimbs][Format::kPlaces];
  int32_t start[kLimbs][std::max(Format::kSums, kLanes32)];
  float scales[4];  // of each 32 elements of a step of 128, or one of all 256
  float sums[8];    // of groups of 32, in units of the scale; Q4_K only
};

// Sums of products with the upper and the lower 15 bits of the vector. x = scale * (upper * 2^15 +
// lower), or scale * upper.
template <int kLimbs>
struct DotSums {
  Ints upper;
  Ints lower;

  HWY_INLINE DotSums() : upper(hn::Zero(TagI32())), lower(hn::Zero(TagI32())) {}

  template <class Step>
  HWY_INLINE void StartAt(const Step& x, size_t at) {
    upper = hn::Load(TagI32(), x.start[0] + at);
    if constexpr (kLimbs == 2) lower = hn::Load(TagI32(), x.start[1] + at);
  }
  template <class Step>
  HWY_INLINE void Add(hn::Vec<TagI16> w, const Step& x, size_t at) {
    upper = AddProducts(w, x.q[0] + at, upper);
    if constexpr (kLimbs == 2) lower = AddProducts(w, x.q[1] + at, lower);
  }
  template <class Step>
  HWY_INLINE void Add(Bits w, const Step& x, size_t at) {
    Add(hn::BitCast(TagI16(), w), x, at);
  }
  [[nodiscard]] HWY_INLINE Floats Value() const {
    const TagF32 d;
    if constexpr (kLimbs == 1) return hn::ConvertTo(d, upper);
    return hn::MulAdd(hn::ConvertTo(d, upper), hn::Set(d, 32768.0F), hn::ConvertTo(d, lower));
  }

 private:
  static HWY_INLINE Ints AddProducts(hn::Vec<TagI16> w, const int16_t* x, Ints sum) {
#if HWY_TARGET == HWY_AVX3_DL
    // The same in one instruction, which Highway 1.0 has no name for.
    asm("vpdpwssd %2, %1, %0" : "+v"(sum.raw) : "v"(w.raw), "v"(hn::Load(TagI16(), x).raw));
    return sum;
#else
    Ints other = hn::Zero(TagI32());
    sum = hn::ReorderWidenMulAccumulate(TagI32(), w, hn::Load(TagI16(), x), sum, other);
    return hn::Add(sum, other);
#endif
  }
};

HWY_INLINE Bits LoadBits(const uint8_t* bytes) {
  return hn::BitCast(Tag16(), hn::LoadU(Tag8(), bytes));
}
template <int kShift>
HWY_INLINE Bits Field(Bits bits, uint16_t mask) {
  return hn::And(hn::ShiftRight<kShift>(bits), hn::Set(Tag16(), mask));
}
// A block's scale times the vector's, in every lane.
HWY_INLINE Floats ScaleAt(const uint8_t* at, float x_scale) {
  const TagF32 d;
  const hn::CappedTag<float, 4> d4;
  const hn::CappedTag<uint16_t, 4> du4;
  const hn::Rebind<hwy::float16_t, decltype(d4)> d16;
  uint16_t bits = 0;
  std::memcpy(&bits, at, sizeof(bits));
  const auto scale = hn::PromoteTo(d4, hn::BitCast(d16, hn::Set(du4, bits)));
  return hn::Set(d, hn::GetLane(scale) * x_scale);
}

// The scales of four blocks, which begin with them, times those of the vector.
HWY_INLINE void FourScales(const uint8_t* blocks, size_t block_bytes, const float* x_scales,
                           float* out) {
  const hn::CappedTag<float, 4> d;
  const hn::Rebind<hwy::float16_t, decltype(d)> d16;
  uint64_t bits = 0;
  for (size_t b = 0; b < 4; ++b) {
    uint16_t half = 0;
    std::memcpy(&half, blocks + b * block_bytes, sizeof(half));
    bits |= uint64_t{half} << (16 * b);
  }
  const auto halves = hn::BitCast(d16, hn::Set(hn::CappedTag<uint64_t, 1>(), bits));
  hn::StoreU(hn::Mul(hn::PromoteTo(d, halves), hn::LoadU(d, x_scales)), d, out);
}

// Sixteen bytes each have one of four scales: those of the vector that is number `part` of 64
// bytes. `scales` is 16-byte aligned.
HWY_INLINE Floats ScalesOfSixteens(const float* scales, size_t part) {
  const TagF32 d;
  const TagI32 di;
  const auto lane = hn::Iota(di, static_cast<int32_t>(part * kLanes32));
  return hn::TableLookupLanes(hn::LoadDup128(d, scales),
                              hn::IndicesFromVec(d, hn::ShiftRight<2>(lane)));
}

// `count` small integers as floats.
template <class Int>
HWY_INLINE void ToFloats(const Int* ints, size_t count, float* out) {
  const hn::CappedTag<float, 8> d;
  const hn::RebindToSigned<decltype(d)> di;
  const hn::Rebind<Int, decltype(d)> d8;
  for (size_t i = 0; i < count; i += hn::Lanes(d)) {
    hn::Store(hn::ConvertTo(d, hn::PromoteTo(di, hn::LoadU(d8, ints + i))), d, out + i);
  }
}

// The even and the odd ones of two vectors of 16-bit integers, whose sixteens lie at
// `from(0)`, `from(1)`, ...
template <class From>
HWY_INLINE void StoreEvenAndOdd(const From& from, int16_t* out) {
  const TagI16 d;
#if HWY_ARCH_X86 && HWY_MAX_BYTES == 64
  const hn::Full256<int16_t> half;
  const auto low = hn::Combine(d, hn::LoadU(half, from(1)), hn::LoadU(half, from(0)));
  const auto high = hn::Combine(d, hn::LoadU(half, from(3)), hn::LoadU(half, from(2)));
#elif HWY_ARCH_X86 && HWY_MAX_BYTES == 32
  const auto low = hn::LoadU(d, from(0));
  const auto high = hn::LoadU(d, from(1));
#else
  const auto low = hn::LoadU(d, from(0));
  const auto high = hn::LoadU(d, from(0) + 8);
#endif
  hn::Store(hn::ConcatEven(d, high, low), d, out);
  hn::Store(hn::ConcatOdd(d, high, low), d, out + kLanes16);
}

// So far ahead rows are fetched: beyond the page of 4 KiB at which a processor's own looking ahead
// ends. One Zen 5 core reads TQ2_0 at 60 weights a nanosecond with it, 48 without.
constexpr size_t kFetchAhead = 4096;

template <size_t kCount>
HWY_INLINE void FetchAhead(const uint8_t* bytes) {
  constexpr size_t kLine = 64;
  // As a number: it may lie beyond the weight, which a prefetch does not mind.
  const auto first = reinterpret_cast<uintptr_t>(bytes) + kFetchAhead;
  for (size_t at = 0; at < kCount; at += kLine) {
    __builtin_prefetch(reinterpret_cast<const void*>(first + at));
  }
}

struct RowSum {
  Floats total;

  HWY_INLINE RowSum() : total(hn::Zero(TagF32())) {}
  [[nodiscard]] HWY_INLINE float Value() const {
    return hn::GetLane(hn::SumOfLanes(TagF32(), total));
  }
};

// The integers of a step, `q` in the order of its elements, into their places. For formats of bytes
// with kFields fields each: Format::ElementOf says which element field `field` of byte `byte` of
// vector `load` is, the same way for every sixteen bytes.
template <class Format>
HWY_INLINE void PlaceFields(const int16_t* q, int16_t* places) {
  for (size_t load = 0; load < Format::kPlaces / Format::kFields / kBytes; ++load) {
    for (size_t field = 0; field < Format::kFields; ++field) {
      const auto from = [=](size_t sixteen)
                            HWY_ATTR { return q + Format::ElementOf(load, sixteen * 16, field); };
      StoreEvenAndOdd(from, places + (load * Format::kFields + field) * 2 * kLanes16);
    }
  }
}

struct Q8_0Dot {
  static constexpr bool kHasMinimums = false;
  static constexpr size_t kStepElements = 128;  // four blocks
  static constexpr size_t kScaleElements = 32;
  static constexpr size_t kBlockBytes = 34;
  static constexpr size_t kStepBytes = 4 * kBlockBytes;
  static constexpr size_t kPlaces = 128;
  static constexpr int kOffset = 0;
  static constexpr size_t kSums = 0;
  using Row = RowSum;
  static HWY_INLINE void Place(const int16_t* q, int16_t* places) {
    std::memcpy(places, q, kPlaces * sizeof(*q));
  }
  static size_t SumOf(size_t /*place*/) { return 0; }

  template <int kLimbs>
  static HWY_INLINE void AddStep(const uint8_t* blocks, const StepVector<Q8_0Dot, kLimbs>& x,
                                 Row& row) {
    const TagI16 d16;
    const hn::Rebind<int8_t, TagI16> d8;
    alignas(16) float scales[4];
    FourScales(blocks, kBlockBytes, x.scales, scales);
    for (size_t b = 0; b < 4; ++b) {
      const auto* const q = reinterpret_cast<const int8_t*>(blocks + b * kBlockBytes + 2);
      DotSums<kLimbs> sums;
      for (size_t i = 0; i < 32; i += kLanes16) {
        sums.Add(hn::PromoteTo(d16, hn::LoadU(d8, q + i)), x, b * 32 + i);
      }
      row.total = hn::MulAdd(sums.Value(), hn::Set(TagF32(), scales[b]), row.total);
    }
  }
};

struct Q4_0Dot {
  static constexpr bool kHasMinimums = false;
  static constexpr size_t kStepElements = 128;  // four blocks, whose quants make up 64 bytes
  static constexpr size_t kScaleElements = 32;
  static constexpr size_t kBlockBytes = 18;
  static constexpr size_t kStepBytes = 4 * kBlockBytes;
  static constexpr size_t kPlaces = 128;
  static constexpr int kOffset = 8;
  static constexpr size_t kFields = 2;
  static constexpr size_t kSums = 16;
  using Row = RowSum;
  static HWY_INLINE size_t ElementOf(size_t load, size_t byte, size_t field) {
    byte += load * kBytes;
    return byte / 16 * 32 + field * 16 + byte % 16;
  }
  static HWY_INLINE void Place(const int16_t* q, int16_t* places) {
    PlaceFields<Q4_0Dot>(q, places);
  }
  static size_t SumOf(size_t place) { return place / kLanes16 / 4 * kLanes32; }

  // The quants of as many blocks as fill a vector.
  static HWY_INLINE Bits LoadQuants(const uint8_t* blocks) {
    const hn::Full128<uint8_t> d;
    const auto at = [=](size_t b) HWY_ATTR { return hn::LoadU(d, blocks + b * kBlockBytes + 2); };
#if HWY_ARCH_X86 && HWY_MAX_BYTES == 64
    const hn::Full256<uint8_t> d2;
    const auto bytes =
        hn::Combine(Tag8(), hn::Combine(d2, at(3), at(2)), hn::Combine(d2, at(1), at(0)));
#elif HWY_ARCH_X86 && HWY_MAX_BYTES == 32
    const auto bytes = hn::Combine(Tag8(), at(1), at(0));
#else
    const auto bytes = at(0);
#endif
    return hn::BitCast(Tag16(), bytes);
  }

  template <int kLimbs>
  static HWY_INLINE void AddStep(const uint8_t* blocks, const StepVector<Q4_0Dot, kLimbs>& x,
                                 Row& row) {
    alignas(16) float scales[4];
    FourScales(blocks, kBlockBytes, x.scales, scales);
    for (size_t load = 0; load < 64 / kBytes; ++load) {
      const Bits v = LoadQuants(blocks + load * (kBytes / 16) * kBlockBytes);
      const size_t at = load * 4 * kLanes16;
      DotSums<kLimbs> sums;
      sums.StartAt(x, load * kLanes32);
      sums.Add(hn::And(v, hn::Set(Tag16(), 15)), x, at);
      sums.Add(Field<8>(v, 15), x, at + kLanes16);
      sums.Add(Field<4>(v, 15), x, at + 2 * kLanes16);
      sums.Add(hn::ShiftRight<12>(v), x, at + 3 * kLanes16);
      row.total = hn::MulAdd(sums.Value(), ScalesOfSixteens(scales, load), row.total);
    }
  }
};

struct Q4_KDot {
  static constexpr bool kHasMinimums = true;
  static constexpr size_t kStepElements = 256;
  static constexpr size_t kScaleElements = 256;
  static constexpr size_t kBlockBytes = 144;
  static constexpr size_t kStepBytes = kBlockBytes;
  static constexpr size_t kPlaces = 256;
  static constexpr int kOffset = 0;
  static constexpr size_t kFields = 2;
  static constexpr size_t kSums = 0;
  using EightTag = hn::CappedTag<float, 8>;
  struct Row {
    Floats total;
    hn::Vec<EightTag> mins;

    HWY_INLINE Row() : total(hn::Zero(TagF32())), mins(hn::Zero(EightTag())) {}
    [[nodiscard]] HWY_INLINE float Value() const {
      return hn::GetLane(hn::SumOfLanes(TagF32(), total)) -
             hn::GetLane(hn::SumOfLanes(EightTag(), mins));
    }
  };
  static HWY_INLINE size_t ElementOf(size_t load, size_t byte, size_t field) {
    byte += load * kBytes;
    return byte / 32 * 64 + field * 32 + byte % 32;
  }
  static HWY_INLINE void Place(const int16_t* q, int16_t* places) {
    PlaceFields<Q4_KDot>(q, places);
  }
  static size_t SumOf(size_t /*place*/) { return 0; }

  // The scales and minima of the eight groups; engine/quant/six_bit_scales.h tells their layout.
  static HWY_INLINE void UnpackScales(const uint8_t* packed, float* scales, float* mins) {
    uint32_t word[3];
    std::memcpy(word, packed, sizeof(word));
    const auto join = [](uint32_t low, uint32_t nibbles, uint32_t upper) {
      const uint64_t high = (nibbles & 0x0f0f0f0fU) | (upper >> 6 & 0x03030303U) << 4;
      return (low & 0x3f3f3f3fU) | high << 32;
    };
    const uint64_t bytes[2] = {join(word[0], word[2], word[0]),
                               join(word[1], word[2] >> 4, word[1])};
    ToFloats(reinterpret_cast<const uint8_t*>(&bytes[0]), 8, scales);
    ToFloats(reinterpret_cast<const uint8_t*>(&bytes[1]), 8, mins);
  }

  // Of the groups whose nibbles a vector of bytes has: each 32 bytes have one scale.
  static HWY_INLINE Floats GroupScales(const float* scales, size_t load, size_t field) {
    const float* const first = scales + load * kBytes / 32 * 2 + field;
#if HWY_ARCH_X86 && HWY_MAX_BYTES == 64
    const hn::Full256<float> half;
    return hn::Combine(TagF32(), hn::Set(half, first[2]), hn::Set(half, first[0]));
#else
    return hn::Set(TagF32(), first[0]);
#endif
  }

  template <int kLimbs>
  static HWY_INLINE void AddStep(const uint8_t* block, const StepVector<Q4_KDot, kLimbs>& x,
                                 Row& row) {
    alignas(32) float scales[8];
    alignas(32) float mins[8];
    UnpackScales(block + 4, scales, mins);
    Floats sum = hn::Zero(TagF32());
    for (size_t load = 0; load < 128 / kBytes; ++load) {
      const Bits v = LoadBits(block + 16 + load * kBytes);
      const size_t at = load * 4 * kLanes16;
      DotSums<kLimbs> low;
      low.Add(hn::And(v, hn::Set(Tag16(), 15)), x, at);
      low.Add(Field<8>(v, 15), x, at + kLanes16);
      sum = hn::MulAdd(low.Value(), GroupScales(scales, load, 0), sum);
      DotSums<kLimbs> high;
      high.Add(Field<4>(v, 15), x, at + 2 * kLanes16);
      high.Add(hn::ShiftRight<12>(v), x, at + 3 * kLanes16);
      sum = hn::MulAdd(high.Value(), GroupScales(scales, load, 1), sum);
    }
    row.total = hn::MulAdd(sum, ScaleAt(block, x.scales[0]), row.total);
    const EightTag d8;
    const auto factor = hn::Set(d8, hn::GetLane(ScaleAt(block + 2, x.scales[0])));
    for (size_t g = 0; g < 8; g += hn::Lanes(d8)) {
      const auto products = hn::Mul(hn::Load(d8, mins + g), hn::LoadU(d8, x.sums + g));
      row.mins = hn::MulAdd(products, factor, row.mins);
    }
  }
};

struct Q6_KDot {
  static constexpr bool kHasMinimums = false;
  static constexpr size_t kStepElements = 256;
  static constexpr size_t kScaleElements = 256;
  static constexpr size_t kBlockBytes = 210;
  static constexpr size_t kStepBytes = kBlockBytes;
  static constexpr size_t kPlaces = 256;
  static constexpr int kOffset = 32;
  static constexpr size_t kFields = 2;
  static constexpr size_t kSums = 64;
  using Row = RowSum;
  static HWY_INLINE size_t ElementOf(size_t load, size_t byte, size_t field) {
    byte += load * kBytes;
    return byte / 64 * 128 + field * 64 + byte % 64;
  }
  static HWY_INLINE void Place(const int16_t* q, int16_t* places) {
    PlaceFields<Q6_KDot>(q, places);
  }
  static size_t SumOf(size_t place) { return place / kLanes16 / 2 * kLanes32; }

  // The upper bits of the weights whose lower ones are part `part` of 64 bytes: of the low nibbles
  // in bits 0 and 1 of each byte, of the high ones in bits 4 and 5.
  static HWY_INLINE Bits UpperBits(const uint8_t* bytes, size_t part) {
#if HWY_ARCH_X86 && HWY_MAX_BYTES == 64
    static_cast<void>(part);
    const hn::Full256<uint8_t> half;
    const hn::Full256<uint16_t> half16;
    const auto v = hn::BitCast(half16, hn::LoadU(half, bytes));
    return hn::Combine(Tag16(), hn::ShiftRight<2>(v), v);
#else
    const Bits v = LoadBits(bytes + part * kBytes % 32);
    return part * kBytes < 32 ? v : hn::ShiftRight<2>(v);
#endif
  }

  template <int kLimbs>
  static HWY_INLINE Floats BytesDot(Bits v, const StepVector<Q6_KDot, kLimbs>& x, size_t pair) {
    DotSums<kLimbs> sums;
    sums.StartAt(x, pair * kLanes32);
    sums.Add(hn::And(v, hn::Set(Tag16(), 255)), x, pair * 2 * kLanes16);
    sums.Add(hn::ShiftRight<8>(v), x, (pair * 2 + 1) * kLanes16);
    return sums.Value();
  }

  template <int kLimbs>
  static HWY_INLINE void AddStep(const uint8_t* block, const StepVector<Q6_KDot, kLimbs>& x,
                                 Row& row) {
    const auto mask = [](uint16_t bits) HWY_ATTR { return hn::Set(Tag16(), bits); };
    alignas(64) float scales[16];
    ToFloats(reinterpret_cast<const int8_t*>(block + 192), 16, scales);
    Floats sum = hn::Zero(TagF32());
    for (size_t load = 0; load < 128 / kBytes; ++load) {
      const size_t half = load * kBytes / 64;
      const size_t part = load % (64 / kBytes);
      const Bits v = LoadBits(block + load * kBytes);
      const Bits upper = UpperBits(block + 128 + half * 32, part);
      const Bits low =
          hn::Or(hn::And(v, mask(0x0f0f)), hn::ShiftLeft<4>(hn::And(upper, mask(0x0303))));
      const Bits high = hn::Or(Field<4>(v, 0x0f0f), hn::And(upper, mask(0x3030)));
      const float* const first = scales + half * 8;
      sum = hn::MulAdd(BytesDot(low, x, load * 2), ScalesOfSixteens(first, part), sum);
      sum = hn::MulAdd(BytesDot(high, x, load * 2 + 1), ScalesOfSixteens(first + 4, part), sum);
    }
    row.total = hn::MulAdd(sum, ScaleAt(block + 208, x.scales[0]), row.total);
  }
};

struct Tq2_0Dot {
  static constexpr bool kHasMinimums = false;
  static constexpr size_t kStepElements = 256;
  static constexpr size_t kScaleElements = 256;
  static constexpr size_t kBlockBytes = 66;
  static constexpr size_t kStepBytes = kBlockBytes;
  static constexpr size_t kPlaces = 256;
  static constexpr int kOffset = 1;
  static constexpr size_t kFields = 4;
  static constexpr size_t kSums = 16;
  using Row = RowSum;
  static HWY_INLINE size_t ElementOf(size_t load, size_t byte, size_t field) {
    byte += load * kBytes;
    return byte / 32 * 128 + field * 32 + byte % 32;
  }
  static HWY_INLINE void Place(const int16_t* q, int16_t* places) {
    PlaceFields<Tq2_0Dot>(q, places);
  }
  static size_t SumOf(size_t /*place*/) { return 0; }

  template <int kLimbs>
  static HWY_INLINE void AddStep(const uint8_t* block, const StepVector<Tq2_0Dot, kLimbs>& x,
                                 Row& row) {
    DotSums<kLimbs> sums;
    sums.StartAt(x, 0);
    for (size_t load = 0; load < 64 / kBytes; ++load) {
      const Bits v = LoadBits(block + load * kBytes);
      const size_t at = load * 8 * kLanes16;
      sums.Add(hn::And(v, hn::Set(Tag16(), 3)), x, at);
      sums.Add(Field<8>(v, 3), x, at + kLanes16);
      sums.Add(Field<2>(v, 3), x, at + 2 * kLanes16);
      sums.Add(Field<10>(v, 3), x, at + 3 * kLanes16);
      sums.Add(Field<4>(v, 3), x, at + 4 * kLanes16);
      sums.Add(Field<12>(v, 3), x, at + 5 * kLanes16);
      sums.Add(Field<6>(v, 3), x, at + 6 * kLanes16);
      sums.Add(hn::ShiftRight<14>(v), x, at + 7 * kLanes16);
    }
    const auto scale = ScaleAt(block + 64, x.scales[0]);
    row.total = hn::MulAdd(sums.Value(), scale, row.total);
  }
};

struct Tq1_0Dot {
  static constexpr bool kHasMinimums = false;
  static constexpr size_t kStepElements = 256;
  static constexpr size_t kScaleElements = 256;
  static constexpr size_t kBlockBytes = 54;
  static constexpr size_t kStepBytes = kBlockBytes;
  static constexpr size_t kFields = 5;
  static constexpr size_t kPlaces = 64 * kFields;  // 52 bytes of digits and twelve that are none
  static constexpr int kOffset = 1;
  static constexpr size_t kSums = 16;
  using Row = RowSum;
  static constexpr size_t kRun = 2;  // divides where every run and vector begins
  // Where vector `load` begins: the last one ends with the block, and so begins within the one
  // before.
  static constexpr size_t LoadAt(size_t load) {
    return kBytes > kBlockBytes ? 0 : std::min(load * kBytes, kBlockBytes - kBytes);
  }
  // The digits of the first 32 bytes are in runs of 32 elements, those of the next 16 bytes in runs
  // of 16, of the last four bytes in runs of four. The other places stay zero.
  static HWY_INLINE void Place(const int16_t* q, int16_t* places) {
    for (size_t load = 0; load < 64 / kBytes; ++load) {
      for (size_t digit = 0; digit < kFields; ++digit) {
        alignas(kBytes) int16_t run[kBytes];
        for (size_t i = 0; i < kBytes; i += kRun) {
          const size_t byte = LoadAt(load) + i;
          const int16_t* const from = byte < 32   ? q + digit * 32 + byte
                                      : byte < 48 ? q + 160 + digit * 16 + byte - 32
                                                  : q + 240 + digit * 4 + byte - 48;
          const bool digits = byte >= load * kBytes && byte < (digit == 4 ? 48 : 52);
          if (digits) {
            std::memcpy(run + i, from, kRun * sizeof(*run));
          } else {
            std::memset(run + i, 0, kRun * sizeof(*run));
          }
        }
        const auto sixteen = [&](size_t i) HWY_ATTR { return run + i * 16; };
        StoreEvenAndOdd(sixteen, places + (load * kFields + digit) * 2 * kLanes16);
      }
    }
  }
  static size_t SumOf(size_t /*place*/) { return 0; }

  static HWY_INLINE Bits LoadDigits(const uint8_t* block, size_t load) {
    if constexpr (kBytes > kBlockBytes) {
      const auto within = hn::FirstN(Tag8(), kBlockBytes);
      return hn::BitCast(Tag16(), hn::MaskedLoad(within, Tag8(), block));
    }
    return LoadBits(block + LoadAt(load));
  }

  template <int kLimbs>
  static HWY_INLINE void AddStep(const uint8_t* block, const StepVector<Tq1_0Dot, kLimbs>& x,
                                 Row& row) {
    const auto three = hn::Set(Tag16(), 3);
    DotSums<kLimbs> sums;
    sums.StartAt(x, 0);
    for (size_t load = 0; load < 64 / kBytes; ++load) {
      const Bits v = LoadDigits(block, load);
      // The byte as a fraction of 16 bits: times three, what leaves it above is the next digit.
      Bits even = hn::ShiftLeft<8>(v);
      Bits odd = hn::And(v, hn::Set(Tag16(), 0xff00));
      for (size_t digit = 0; digit < kFields; ++digit) {
        const size_t at = (load * kFields + digit) * 2 * kLanes16;
        sums.Add(hn::MulHigh(even, three), x, at);
        sums.Add(hn::MulHigh(odd, three), x, at + kLanes16);
        even = hn::Add(even, hn::Add(even, even));
        odd = hn::Add(odd, hn::Add(odd, odd));
      }
    }
    const auto scale = ScaleAt(block + 52, x.scales[0]);
    row.total = hn::MulAdd(sums.Value(), scale, row.total);
  }
};

}  // namespace choir::engine::HWY_NAMESPACE
#endif  // HWY_TARGET != HWY_SCALAR
HWY_AFTER_NAMESPACE();

#endif  // CHOIR_ENGINE_BACKEND_CPU_DOT_FORMATS_INL_H_
