// pack and unpack: activations to BF16 or Q8_0 and back, bit for bit as the formats' own loops do.

// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/backend/cpu/pack_kernels.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "engine/backend/cpu/simd_loop-inl.h"
// clang-format on

#include <cstring>

#include "engine/backend/cpu/dequantize.h"
#include "engine/backend/cpu/kernel_table.h"
#include "engine/backend/cpu/vector_math.h"
#include "engine/quant/half.h"
#include "engine/quant/weight_format.h"

HWY_BEFORE_NAMESPACE();
namespace choir::engine::HWY_NAMESPACE {

constexpr size_t kQ8Elements = 32;
constexpr size_t kQ8Bytes = sizeof(uint16_t) + kQ8Elements;
// At most a block; no instruction set has more than 16 lanes of f32 that this needs to use.
using BlockTag = hn::CappedTag<float, 16>;

// To the nearest whole number, halves away from zero, as std::round.
template <class D, class V>
HWY_INLINE V RoundAway(D d, V v) {
  const auto magnitude = hn::Abs(v);
  const auto whole = hn::Trunc(magnitude);
  const auto up = hn::Ge(hn::Sub(magnitude, whole), hn::Set(d, 0.5F));
  return hn::CopySign(hn::Add(whole, hn::IfThenElseZero(up, hn::Set(d, 1.0F))), v);
}

// engine/quant/q8_0.cc has the rounding.
void ToQ8(const float* x, uint8_t* out, size_t num_blocks) {
  const BlockTag d;
  const hn::Rebind<int32_t, BlockTag> di;
  const hn::Rebind<int8_t, BlockTag> d8;
  const size_t lanes = hn::Lanes(d);
  const auto limit = hn::Set(d, 127.0F);
  for (size_t b = 0; b < num_blocks; ++b, x += kQ8Elements, out += kQ8Bytes) {
    auto largest_of = hn::Zero(d);
    for (size_t i = 0; i < kQ8Elements; i += lanes) {
      largest_of = hn::Max(largest_of, hn::Abs(hn::LoadU(d, x + i)));
    }
    const float scale = hn::GetLane(hn::MaxOfLanes(d, largest_of)) / 127.0F;
    const auto inverse = hn::Set(d, scale != 0.0F ? 1.0F / scale : 0.0F);
    const uint16_t bits = F32ToF16(scale);
    std::memcpy(out, &bits, sizeof(bits));
    auto* const quants = reinterpret_cast<int8_t*>(out + sizeof(bits));
    for (size_t i = 0; i < kQ8Elements; i += lanes) {
      const auto scaled = hn::Mul(hn::LoadU(d, x + i), inverse);
      const auto rounded = RoundAway(d, hn::IfThenZeroElse(hn::IsNaN(scaled), scaled));
      const auto clamped = hn::Max(hn::Min(rounded, limit), hn::Neg(limit));
      hn::StoreU(hn::DemoteTo(d8, hn::ConvertTo(di, clamped)), d8, quants + i);
    }
  }
}

}  // namespace choir::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace choir::engine {
namespace {

HWY_EXPORT(ToQ8);

constexpr int64_t kElementsPerTask = 16384;
constexpr int64_t kBlockElements = 32;

absl::StatusOr<CpuProgram> PreparePack(const CpuCall& call, CpuCompiler& /*compiler*/) {
  const float* const x = call.inputs[0].f32();
  const CpuOutput packed = call.outputs[0];
  // A row is whole blocks, so that rows need no looking at.
  const int64_t count = packed.desc.shape.NumElements();
  if (packed.desc.format == &kBF16Format) {
    auto* const out = reinterpret_cast<uint16_t*>(packed.data);
    return [=](CpuRun& run) {
      run.ParallelRanges(count, kElementsPerTask, [&](int64_t begin, int64_t end, int) {
        ConvertToBf16(x + begin, out + begin, static_cast<size_t>(end - begin));
      });
      return absl::OkStatus();
    };
  }
  return [=](CpuRun& run) {
    run.ParallelRanges(count, kElementsPerTask, [&](int64_t begin, int64_t end, int) {
      uint8_t* const out = packed.data + kQ8_0Format.RowBytes(static_cast<size_t>(begin));
      HWY_DYNAMIC_DISPATCH(ToQ8)
      (x + begin, out, static_cast<size_t>((end - begin) / kBlockElements));
    });
    return absl::OkStatus();
  };
}
static_assert(kElementsPerTask % kBlockElements == 0);

absl::StatusOr<CpuProgram> PrepareUnpack(const CpuCall& call, CpuCompiler& /*compiler*/) {
  const CpuInput packed = call.inputs[0];
  float* const x = call.outputs[0].f32();
  const int64_t count = packed.desc.shape.NumElements();
  const RowDequantizer dequantize = RowDequantizerOf(*packed.desc.format);
  return [=](CpuRun& run) {
    run.ParallelRanges(count, kElementsPerTask, [&](int64_t begin, int64_t end, int) {
      const size_t at = packed.desc.format->RowBytes(static_cast<size_t>(begin));
      const size_t bytes = packed.desc.format->RowBytes(static_cast<size_t>(end - begin));
      dequantize({packed.data + at, bytes}, {x + begin, static_cast<size_t>(end - begin)});
    });
    return absl::OkStatus();
  };
}

}  // namespace

const CpuKernel kPackCpuKernel = {PreparePack};
const CpuKernel kUnpackCpuKernel = {PrepareUnpack};

}  // namespace choir::engine
#endif  // HWY_ONCE
