#include "engine/backend/cpu/dequantize.h"

// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/backend/cpu/dequantize.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "engine/backend/cpu/simd_loop-inl.h"
// clang-format on

#include <cstring>

#include "engine/quant/half.h"
#include "engine/quant/six_bit_scales.h"

HWY_BEFORE_NAMESPACE();
namespace choir::engine::HWY_NAMESPACE {

void F16Row(std::span<const uint8_t> blocks, std::span<float> elements) {
  const auto* const in = reinterpret_cast<const hwy::float16_t*>(blocks.data());
  float* const out = elements.data();
  ForEachVector(elements.size(), [=](auto d, size_t i) HWY_ATTR {
    const hn::Rebind<hwy::float16_t, decltype(d)> d16;
    hn::StoreU(hn::PromoteTo(d, hn::LoadU(d16, in + i)), d, out + i);
  });
}

void Bf16Row(std::span<const uint8_t> blocks, std::span<float> elements) {
  const auto* const in = reinterpret_cast<const uint16_t*>(blocks.data());
  float* const out = elements.data();
  ForEachVector(elements.size(), [=](auto d, size_t i) HWY_ATTR {
    const hn::RebindToUnsigned<decltype(d)> d32;
    const hn::Rebind<uint16_t, decltype(d)> d16;
    const auto bits = hn::ShiftLeft<16>(hn::PromoteTo(d32, hn::LoadU(d16, in + i)));
    hn::StoreU(hn::BitCast(d, bits), d, out + i);
  });
}

// Where the elements of a row go: f32, or bf16 rounded to nearest even as ConvertToBf16 does. The
// quantised formats give finite numbers only, so no NaN needs care.
template <class D>
HWY_INLINE void Put(D d, hn::Vec<D> x, float* out) {
  hn::StoreU(x, d, out);
}
template <class D>
HWY_INLINE void Put(D /*d*/, hn::Vec<D> x, uint16_t* out) {
  const hn::RebindToUnsigned<D> du;
  const hn::RebindToSigned<D> di;
  const hn::Rebind<uint16_t, D> d16;
  const auto bits = hn::BitCast(du, x);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1U));
  const auto rounded = hn::Add(bits, hn::Add(odd, hn::Set(du, 0x7fffU)));
  hn::StoreU(hn::DemoteTo(d16, hn::BitCast(di, hn::ShiftRight<16>(rounded))), d16, out);
}

HWY_INLINE float LoadScale(const uint8_t* at) {
  uint16_t bits = 0;
  std::memcpy(&bits, at, sizeof(bits));
  return F16ToF32(bits);
}

// At most 16 lanes, a power of two: whole vectors fill every group of 16 or 32 weights.
using GroupTag = hn::CappedTag<float, 16>;
using GroupInts = hn::RebindToSigned<GroupTag>;
using GroupBytes = hn::Rebind<uint8_t, GroupTag>;

// The layouts of the blocks below are told in engine/quant/<format>.cc.
template <class Out>
void Q8_0Row(const uint8_t* blocks, size_t count, Out* out) {
  const GroupTag d;
  const GroupInts di;
  const hn::Rebind<int8_t, GroupTag> d8;
  for (; count > 0; count -= 32, blocks += 34, out += 32) {
    const auto scale = hn::Set(d, LoadScale(blocks));
    const auto* const quants = reinterpret_cast<const int8_t*>(blocks + 2);
    for (size_t i = 0; i < 32; i += hn::Lanes(d)) {
      const auto q = hn::ConvertTo(d, hn::PromoteTo(di, hn::LoadU(d8, quants + i)));
      Put(d, hn::Mul(scale, q), out + i);
    }
  }
}

template <class Out>
void Q4_0Row(const uint8_t* blocks, size_t count, Out* out) {
  const GroupTag d;
  const GroupInts di;
  const GroupBytes d8;
  const auto offset = hn::Set(di, 8);
  for (; count > 0; count -= 32, blocks += 18, out += 32) {
    const auto scale = hn::Set(d, LoadScale(blocks));
    for (size_t i = 0; i < 16; i += hn::Lanes(d)) {
      const auto bytes = hn::PromoteTo(di, hn::LoadU(d8, blocks + 2 + i));
      const auto low = hn::Sub(hn::And(bytes, hn::Set(di, 15)), offset);
      const auto high = hn::Sub(hn::ShiftRight<4>(bytes), offset);
      Put(d, hn::Mul(scale, hn::ConvertTo(d, low)), out + i);
      Put(d, hn::Mul(scale, hn::ConvertTo(d, high)), out + 16 + i);
    }
  }
}

template <class Out>
void Q4_KRow(const uint8_t* blocks, size_t count, Out* out) {
  const GroupTag d;
  const GroupInts di;
  const GroupBytes d8;
  for (; count > 0; count -= 256, blocks += 144, out += 256) {
    const SixBitScales six = UnpackSixBitScales(blocks + 4);
    const float factor = LoadScale(blocks);
    const float min_factor = LoadScale(blocks + 2);
    for (size_t g = 0; g < 8; g += 2) {
      const uint8_t* const quants = blocks + 16 + g * 16;
      const auto scale0 = hn::Set(d, factor * static_cast<float>(six.scales[g]));
      const auto scale1 = hn::Set(d, factor * static_cast<float>(six.scales[g + 1]));
      const auto min0 = hn::Set(d, min_factor * static_cast<float>(six.mins[g]));
      const auto min1 = hn::Set(d, min_factor * static_cast<float>(six.mins[g + 1]));
      for (size_t i = 0; i < 32; i += hn::Lanes(d)) {
        const auto bytes = hn::PromoteTo(di, hn::LoadU(d8, quants + i));
        const auto low = hn::ConvertTo(d, hn::And(bytes, hn::Set(di, 15)));
        const auto high = hn::ConvertTo(d, hn::ShiftRight<4>(bytes));
        Put(d, hn::Sub(hn::Mul(scale0, low), min0), out + g * 32 + i);
        Put(d, hn::Sub(hn::Mul(scale1, high), min1), out + g * 32 + 32 + i);
      }
    }
  }
}

template <class Out>
void Q6_KRow(const uint8_t* blocks, size_t count, Out* out) {
  const GroupTag d;
  const GroupInts di;
  const GroupBytes d8;
  for (; count > 0; count -= 256, blocks += 210, out += 256) {
    const float factor = LoadScale(blocks + 208);
    const auto* const scales = reinterpret_cast<const int8_t*>(blocks + 192);
    for (size_t group = 0; group < 16; ++group) {
      const size_t half = group / 8;
      const size_t run = group / 2 % 4;
      const size_t at = group % 2 * 16;
      const uint8_t* const low = blocks + half * 64 + run % 2 * 32 + at;
      const uint8_t* const high = blocks + 128 + half * 32 + at;
      const auto scale = hn::Set(d, factor * static_cast<float>(scales[group]));
      const int low_shift = static_cast<int>(run / 2 * 4);
      const int high_shift = static_cast<int>(run * 2);
      for (size_t i = 0; i < 16; i += hn::Lanes(d)) {
        const auto l = hn::ShiftRightSame(hn::PromoteTo(di, hn::LoadU(d8, low + i)), low_shift);
        const auto h = hn::ShiftRightSame(hn::PromoteTo(di, hn::LoadU(d8, high + i)), high_shift);
        const auto q =
            hn::Or(hn::And(l, hn::Set(di, 15)), hn::ShiftLeft<4>(hn::And(h, hn::Set(di, 3))));
        Put(d, hn::Mul(scale, hn::ConvertTo(d, hn::Sub(q, hn::Set(di, 32)))), out + group * 16 + i);
      }
    }
  }
}

template <class Out>
void Tq2_0Row(const uint8_t* blocks, size_t count, Out* out) {
  const GroupTag d;
  const GroupInts di;
  const GroupBytes d8;
  for (; count > 0; count -= 256, blocks += 66, out += 256) {
    const auto scale = hn::Set(d, LoadScale(blocks + 64));
    for (size_t run = 0; run < 8; ++run) {
      const uint8_t* const bytes = blocks + run / 4 * 32;
      const int shift = static_cast<int>(run % 4 * 2);
      for (size_t i = 0; i < 32; i += hn::Lanes(d)) {
        const auto q = hn::ShiftRightSame(hn::PromoteTo(di, hn::LoadU(d8, bytes + i)), shift);
        const auto digit = hn::Sub(hn::And(q, hn::Set(di, 3)), hn::Set(di, 1));
        Put(d, hn::Mul(scale, hn::ConvertTo(d, digit)), out + run * 32 + i);
      }
    }
  }
}

// `size` bytes of `digits` ternary digits each.
template <class D, class Out>
HWY_INLINE void Tq1_0Run(D d, const uint8_t* bytes, size_t size, int digits, float scale,
                         Out* out) {
  const hn::RebindToSigned<D> di;
  const hn::Rebind<uint8_t, D> d8;
  const auto factor = hn::Set(d, scale);
  int power = 1;
  for (int n = 0; n < digits; ++n, power *= 3, out += size) {
    for (size_t i = 0; i < size; i += hn::Lanes(d)) {
      const auto value = hn::Mul(hn::PromoteTo(di, hn::LoadU(d8, bytes + i)), hn::Set(di, power));
      const auto fraction = hn::And(value, hn::Set(di, 255));
      const auto tripled = hn::Add(fraction, hn::Add(fraction, fraction));
      const auto digit = hn::Sub(hn::ShiftRight<8>(tripled), hn::Set(di, 1));
      Put(d, hn::Mul(factor, hn::ConvertTo(d, digit)), out + i);
    }
  }
}

template <class Out>
void Tq1_0Row(const uint8_t* blocks, size_t count, Out* out) {
  for (; count > 0; count -= 256, blocks += 54, out += 256) {
    const float scale = LoadScale(blocks + 52);
    Tq1_0Run(GroupTag(), blocks, 32, 5, scale, out);
    Tq1_0Run(GroupTag(), blocks + 32, 16, 5, scale, out + 160);
    Tq1_0Run(hn::CappedTag<float, 4>(), blocks + 48, 4, 4, scale, out + 240);
  }
}

// The two functions of a format, with names that HWY_EXPORT can take.
#define CHOIR_ROW_DEQUANTIZERS(Name)                                               \
  void Name##F32(std::span<const uint8_t> blocks, std::span<float> elements) {     \
    Name##Row(blocks.data(), elements.size(), elements.data());                    \
  }                                                                                \
  void Name##Bf16(std::span<const uint8_t> blocks, std::span<uint16_t> elements) { \
    Name##Row(blocks.data(), elements.size(), elements.data());                    \
  }
CHOIR_ROW_DEQUANTIZERS(Q8_0)
CHOIR_ROW_DEQUANTIZERS(Q4_0)
CHOIR_ROW_DEQUANTIZERS(Q4_K)
CHOIR_ROW_DEQUANTIZERS(Q6_K)
CHOIR_ROW_DEQUANTIZERS(Tq2_0)
CHOIR_ROW_DEQUANTIZERS(Tq1_0)
#undef CHOIR_ROW_DEQUANTIZERS

}  // namespace choir::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace choir::engine {
namespace {

HWY_EXPORT(F16Row);
HWY_EXPORT(Bf16Row);
#define CHOIR_QUANTISED_ROWS(X) X(Q8_0) X(Q4_0) X(Q4_K) X(Q6_K) X(Tq2_0) X(Tq1_0)
#define CHOIR_EXPORT(Name) \
  HWY_EXPORT(Name##F32);   \
  HWY_EXPORT(Name##Bf16);
CHOIR_QUANTISED_ROWS(CHOIR_EXPORT)
#undef CHOIR_EXPORT

// Functions, because a pointer taken from the dispatch table before its first call asks the CPU for
// its features at every call, which takes microseconds in a virtual machine.
void DequantizeF16(std::span<const uint8_t> blocks, std::span<float> elements) {
  HWY_DYNAMIC_DISPATCH(F16Row)(blocks, elements);
}
void DequantizeBf16(std::span<const uint8_t> blocks, std::span<float> elements) {
  HWY_DYNAMIC_DISPATCH(Bf16Row)(blocks, elements);
}
#define CHOIR_DISPATCH(Name)                                                         \
  void Name##ToF32(std::span<const uint8_t> blocks, std::span<float> elements) {     \
    HWY_DYNAMIC_DISPATCH(Name##F32)(blocks, elements);                               \
  }                                                                                  \
  void Name##ToBf16(std::span<const uint8_t> blocks, std::span<uint16_t> elements) { \
    HWY_DYNAMIC_DISPATCH(Name##Bf16)(blocks, elements);                              \
  }
CHOIR_QUANTISED_ROWS(CHOIR_DISPATCH)
#undef CHOIR_DISPATCH

struct FastFormat {
  const WeightFormat* format;
  RowDequantizer to_f32;
  RowRounder to_bf16;
};
constexpr FastFormat kFastFormats[] = {
    {&kF16Format, DequantizeF16, nullptr},    {&kBF16Format, DequantizeBf16, nullptr},
    {&kQ8_0Format, Q8_0ToF32, Q8_0ToBf16},    {&kQ4_0Format, Q4_0ToF32, Q4_0ToBf16},
    {&kQ4_KFormat, Q4_KToF32, Q4_KToBf16},    {&kQ6_KFormat, Q6_KToF32, Q6_KToBf16},
    {&kTQ2_0Format, Tq2_0ToF32, Tq2_0ToBf16}, {&kTQ1_0Format, Tq1_0ToF32, Tq1_0ToBf16},
};

const FastFormat* FindFast(const WeightFormat& format) {
  for (const FastFormat& fast : kFastFormats) {
    if (fast.format == &format) return &fast;
  }
  return nullptr;
}

}  // namespace

RowDequantizer RowDequantizerOf(const WeightFormat& format) {
  const FastFormat* const fast = FindFast(format);
  return fast == nullptr ? format.dequantize_row : fast->to_f32;
}

RowRounder RowRounderOf(const WeightFormat& format) {
  const FastFormat* const fast = FindFast(format);
  return fast == nullptr ? nullptr : fast->to_bf16;
}

}  // namespace choir::engine
#endif  // HWY_ONCE
