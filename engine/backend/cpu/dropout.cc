#include "engine/backend/cpu/dropout.h"

// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/backend/cpu/dropout.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "engine/backend/cpu/simd_loop-inl.h"
// clang-format on

#include <algorithm>

HWY_BEFORE_NAMESPACE();
namespace choir::engine::HWY_NAMESPACE {

using WordTag = hn::ScalableTag<uint32_t>;

#if HWY_TARGET == HWY_SCALAR

void QuadWords(const DropoutMask& mask, uint32_t row, uint32_t quad, uint32_t* words) {
  const PhiloxBlock block = mask.Words(row, quad);
  std::copy(block.begin(), block.end(), words);
}

#else

using Words = hn::Vec<WordTag>;

// The two halves of factor * x, 32 bits each.
HWY_INLINE void MultiplyWide(Words factor, Words x, Words& high, Words& low) {
  const WordTag d;
  const hn::RepartitionToWide<WordTag> d64;
  const auto even = hn::MulEven(factor, x);
  const auto odd = hn::MulEven(factor, hn::BitCast(d, hn::ShiftRight<32>(hn::BitCast(d64, x))));
  const auto lower_half = hn::Set(d64, 0xffffffffu);
  low = hn::BitCast(d, hn::Or(hn::And(even, lower_half), hn::ShiftLeft<32>(odd)));
  high = hn::BitCast(d, hn::Or(hn::ShiftRight<32>(even), hn::AndNot(lower_half, odd)));
}

// Philox4x32-10 as in dropout_mask.cc, of a vector of quads. words: 4 * Lanes of them.
void QuadWords(const DropoutMask& mask, uint32_t row, uint32_t first_quad, uint32_t* words) {
  const WordTag d;
  auto c0 = hn::Iota(d, first_quad);
  auto c1 = hn::Set(d, row);
  auto c2 = hn::Set(d, mask.site);
  auto c3 = hn::Set(d, mask.micro_batch);
  const auto multiplier0 = hn::Set(d, 0xD2511F53u);
  const auto multiplier1 = hn::Set(d, 0xCD9E8D57u);
  uint32_t key0 = mask.seed[0];
  uint32_t key1 = mask.seed[1];
  for (int round = 0; round < 10; ++round) {
    Words high0, low0, high1, low1;
    MultiplyWide(multiplier0, c0, high0, low0);
    MultiplyWide(multiplier1, c2, high1, low1);
    c0 = hn::Xor(hn::Xor(high1, c1), hn::Set(d, key0));
    c1 = low1;
    c2 = hn::Xor(hn::Xor(high0, c3), hn::Set(d, key1));
    c3 = low0;
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  hn::StoreInterleaved4(c0, c1, c2, c3, d, words);
}

#endif  // HWY_TARGET == HWY_SCALAR

// use(tag, i, dropped x): elements i .. i + Lanes(tag) - 1 of the row.
template <class Use>
HWY_INLINE void ForEachDropped(const DropoutMask& mask, int64_t row, const float* x, size_t n,
                               const Use& use) {
  HWY_ALIGN uint32_t words[4 * HWY_MAX_BYTES / sizeof(uint32_t)];
  const size_t at_once = 4 * hn::Lanes(WordTag());
  for (size_t begin = 0; begin < n; begin += at_once) {
    QuadWords(mask, static_cast<uint32_t>(row), static_cast<uint32_t>(begin / 4), words);
    ForEachVector(std::min(at_once, n - begin), [&](auto d, size_t i) HWY_ATTR {
      const hn::RebindToUnsigned<decltype(d)> du;
      const hn::RebindToSigned<decltype(d)> di;
      // Vectors compare signed numbers only; with the top bits turned these order alike.
      const auto top = hn::Set(du, 0x80000000u);
      const auto word = hn::BitCast(di, hn::Xor(hn::LoadU(du, words + i), top));
      const auto threshold = hn::BitCast(di, hn::Xor(hn::Set(du, mask.threshold), top));
      const auto dropped = hn::RebindMask(d, hn::Lt(word, threshold));
      const auto scaled = hn::Mul(hn::LoadU(d, x + begin + i), hn::Set(d, mask.scale));
      use(d, begin + i, hn::IfThenZeroElse(dropped, scaled));
    });
  }
}

void Drop(const DropoutMask& mask, int64_t row, const float* x, float* out, size_t n) {
  ForEachDropped(mask, row, x, n,
                 [=](auto d, size_t i, auto dropped) HWY_ATTR { hn::StoreU(dropped, d, out + i); });
}

void AddDropped(const DropoutMask& mask, int64_t row, const float* x, float* out, size_t n) {
  ForEachDropped(mask, row, x, n, [=](auto d, size_t i, auto dropped) HWY_ATTR {
    hn::StoreU(hn::Add(hn::LoadU(d, out + i), dropped), d, out + i);
  });
}

}  // namespace choir::engine::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace choir::engine {

HWY_EXPORT(Drop);
HWY_EXPORT(AddDropped);

void DropRow(const DropoutMask& mask, int64_t row, const float* x, float* out, size_t n) {
  HWY_DYNAMIC_DISPATCH(Drop)(mask, row, x, out, n);
}
void AddDroppedRow(const DropoutMask& mask, int64_t row, const float* x, float* out, size_t n) {
  HWY_DYNAMIC_DISPATCH(AddDropped)(mask, row, x, out, n);
}

std::optional<CallDropout> CallDropout::Of(const CpuCall& call, size_t key) {
  if (!HasDropout(call.attrs)) return std::nullopt;
  return CallDropout(DropoutMask::Of(call.attrs), call.inputs[key].i32());
}

BypassInput::BypassInput(const CpuInput& x, std::optional<CallDropout> dropout,
                         CpuCompiler& compiler)
    : x_(x), dropout_(dropout) {
  if (dropout_) copy_ = compiler.ReserveShared(x.desc.shape.NumElements() * 4);
}

const float* BypassInput::Prepare(CpuRun& run) const {
  if (!dropout_) return x_.f32();
  const DropoutMask mask = dropout_->Mask();
  auto* const copy = run.Get<float>(copy_);
  run.ParallelRanges(x_.rows(), 4, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t at = row * x_.cols();
      DropRow(mask, row, x_.f32() + at, copy + at, static_cast<size_t>(x_.cols()));
    }
  });
  return copy;
}

}  // namespace choir::engine
#endif  // HWY_ONCE
