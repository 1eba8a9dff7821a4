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

// Blocks of an f16 scale and 32 int8.
void Q8_0Row(std::span<const uint8_t> blocks, std::span<float> elements) {
  constexpr size_t kBlock = 32;
  constexpr size_t kScaleBytes = 2;
  const hn::CappedTag<float, kBlock> d;  // a power of two of lanes: whole vectors fill a block
  const hn::RebindToSigned<decltype(d)> d32;
  const hn::Rebind<int8_t, decltype(d)> d8;
  const size_t num_blocks = elements.size() / kBlock;
  for (size_t b = 0; b < num_blocks; ++b) {
    const uint8_t* const block = blocks.data() + b * (kScaleBytes + kBlock);
    float* const out = elements.data() + b * kBlock;
    uint16_t scale_bits = 0;
    std::memcpy(&scale_bits, block, kScaleBytes);
    const auto scale = hn::Set(d, F16ToF32(scale_bits));
    const auto* const quants = reinterpret_cast<const int8_t*>(block + kScaleBytes);
    for (size_t i = 0; i < kBlock; i += hn::Lanes(d)) {
      const auto q = hn::ConvertTo(d, hn::PromoteTo(d32, hn::LoadU(d8, quants + i)));
      hn::StoreU(hn::Mul(scale, q), d, out + i);
    }
  }
}

}  // namespace choir::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace choir::engine {
namespace {

HWY_EXPORT(F16Row);
HWY_EXPORT(Bf16Row);
HWY_EXPORT(Q8_0Row);

// Functions, because a pointer taken from the dispatch table before its first call asks the CPU for
// its features at every call, which takes microseconds in a virtual machine.
void DequantizeF16(std::span<const uint8_t> blocks, std::span<float> elements) {
  HWY_DYNAMIC_DISPATCH(F16Row)(blocks, elements);
}
void DequantizeBf16(std::span<const uint8_t> blocks, std::span<float> elements) {
  HWY_DYNAMIC_DISPATCH(Bf16Row)(blocks, elements);
}
void DequantizeQ8_0(std::span<const uint8_t> blocks, std::span<float> elements) {
  HWY_DYNAMIC_DISPATCH(Q8_0Row)(blocks, elements);
}

}  // namespace

RowDequantizer RowDequantizerOf(const WeightFormat& format) {
  if (&format == &kF16Format) return DequantizeF16;
  if (&format == &kBF16Format) return DequantizeBf16;
  if (&format == &kQ8_0Format) return DequantizeQ8_0;
  return format.dequantize_row;
}

}  // namespace choir::engine
#endif  // HWY_ONCE
