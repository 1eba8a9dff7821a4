#include "secure-agg/core/packed_words.h"

#include <bit>
#include <cstddef>
#include <cstring>

#include "base/check.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "secure-agg/core/packed_words.cc"
#include "hwy/foreach_target.h"
// Behind foreach_target.h, as Highway wants it.
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace choir::secagg {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Whole bytes one word at a time: what is left after the vectors.
template <bool kAdd>
void CombineTail(uint8_t* acc, const uint8_t* words, size_t bytes, size_t word_bytes) {
  for (size_t i = 0; i < bytes; i += word_bytes) {
    uint32_t a = 0;
    uint32_t b = 0;
    std::memcpy(&a, acc + i, word_bytes);
    std::memcpy(&b, words + i, word_bytes);
    a = kAdd ? a + b : a - b;
    std::memcpy(acc + i, &a, word_bytes);
  }
}

#if HWY_TARGET == HWY_SCALAR

template <typename Word, bool kAdd>
void Combine(uint8_t* acc, const uint8_t* words, size_t bytes) {
  CombineTail<kAdd>(acc, words, bytes, sizeof(Word));
}

template <bool kAdd>
void Combine24(uint8_t* acc, const uint8_t* words, size_t bytes) {
  CombineTail<kAdd>(acc, words, bytes, 3);
}

#else

template <typename Word, bool kAdd>
void Combine(uint8_t* HWY_RESTRICT acc, const uint8_t* HWY_RESTRICT words, size_t bytes) {
  const hn::ScalableTag<uint8_t> d8;
  const hn::Repartition<Word, decltype(d8)> d;
  const size_t lanes = hn::Lanes(d8);
  size_t i = 0;
  for (; i + lanes <= bytes; i += lanes) {
    const auto a = hn::BitCast(d, hn::LoadU(d8, acc + i));
    const auto b = hn::BitCast(d, hn::LoadU(d8, words + i));
    hn::StoreU(hn::BitCast(d8, kAdd ? hn::Add(a, b) : hn::Sub(a, b)), d8, acc + i);
  }
  CombineTail<kAdd>(acc + i, words + i, bytes - i, sizeof(Word));
}

// A vector for each of a word's three bytes; what runs over goes into the next by hand. A sum that
// has run over is at most 0xfe, so a carry from below never makes it run over again.
template <bool kAdd>
void Combine24(uint8_t* HWY_RESTRICT acc, const uint8_t* HWY_RESTRICT words, size_t bytes) {
  const hn::ScalableTag<uint8_t> d;
  const size_t step = 3 * hn::Lanes(d);
  const auto zero = hn::Zero(d);
  size_t i = 0;
  for (; i + step <= bytes; i += step) {
    auto a0 = zero, a1 = zero, a2 = zero, b0 = zero, b1 = zero, b2 = zero;
    hn::LoadInterleaved3(d, acc + i, a0, a1, a2);
    hn::LoadInterleaved3(d, words + i, b0, b1, b2);
    if constexpr (kAdd) {
      const auto s0 = hn::Add(a0, b0);
      const auto carry0 = hn::Lt(s0, a0);
      const auto raw1 = hn::Add(a1, b1);
      const auto s1 = hn::Sub(raw1, hn::VecFromMask(d, carry0));
      const auto carry1 = hn::Or(hn::Lt(raw1, a1), hn::And(carry0, hn::Eq(s1, zero)));
      const auto s2 = hn::Sub(hn::Add(a2, b2), hn::VecFromMask(d, carry1));
      hn::StoreInterleaved3(s0, s1, s2, d, acc + i);
    } else {
      const auto borrow0 = hn::Lt(a0, b0);
      const auto raw1 = hn::Sub(a1, b1);
      const auto borrow1 = hn::Or(hn::Lt(a1, b1), hn::And(borrow0, hn::Eq(raw1, zero)));
      const auto s1 = hn::Add(raw1, hn::VecFromMask(d, borrow0));
      const auto s2 = hn::Add(hn::Sub(a2, b2), hn::VecFromMask(d, borrow1));
      hn::StoreInterleaved3(hn::Sub(a0, b0), s1, s2, d, acc + i);
    }
  }
  CombineTail<kAdd>(acc + i, words + i, bytes - i, 3);
}

#endif

void Add16(uint8_t* acc, const uint8_t* words, size_t bytes) {
  Combine<uint16_t, true>(acc, words, bytes);
}
void Add24(uint8_t* acc, const uint8_t* words, size_t bytes) {
  Combine24<true>(acc, words, bytes);
}
void Add32(uint8_t* acc, const uint8_t* words, size_t bytes) {
  Combine<uint32_t, true>(acc, words, bytes);
}
void Subtract16(uint8_t* acc, const uint8_t* words, size_t bytes) {
  Combine<uint16_t, false>(acc, words, bytes);
}
void Subtract24(uint8_t* acc, const uint8_t* words, size_t bytes) {
  Combine24<false>(acc, words, bytes);
}
void Subtract32(uint8_t* acc, const uint8_t* words, size_t bytes) {
  Combine<uint32_t, false>(acc, words, bytes);
}

}  // namespace HWY_NAMESPACE
}  // namespace choir::secagg
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace choir::secagg {
namespace {

static_assert(std::endian::native == std::endian::little, "words are packed little-endian");

HWY_EXPORT(Add16);
HWY_EXPORT(Add24);
HWY_EXPORT(Add32);
HWY_EXPORT(Subtract16);
HWY_EXPORT(Subtract24);
HWY_EXPORT(Subtract32);

void CheckSizes(std::span<uint8_t> acc, std::span<const uint8_t> words, uint32_t bits) {
  CHOIR_CHECK(bits == 16 || bits == 24 || bits == 32);
  CHOIR_CHECK(acc.size() == words.size() && acc.size() % (bits / 8) == 0);
}

}  // namespace

void AddWords(std::span<uint8_t> acc, std::span<const uint8_t> words, uint32_t bits) {
  CheckSizes(acc, words, bits);
  if (bits == 16) return HWY_DYNAMIC_DISPATCH(Add16)(acc.data(), words.data(), acc.size());
  if (bits == 24) return HWY_DYNAMIC_DISPATCH(Add24)(acc.data(), words.data(), acc.size());
  HWY_DYNAMIC_DISPATCH(Add32)(acc.data(), words.data(), acc.size());
}

void SubtractWords(std::span<uint8_t> acc, std::span<const uint8_t> words, uint32_t bits) {
  CheckSizes(acc, words, bits);
  if (bits == 16) return HWY_DYNAMIC_DISPATCH(Subtract16)(acc.data(), words.data(), acc.size());
  if (bits == 24) return HWY_DYNAMIC_DISPATCH(Subtract24)(acc.data(), words.data(), acc.size());
  HWY_DYNAMIC_DISPATCH(Subtract32)(acc.data(), words.data(), acc.size());
}

}  // namespace choir::secagg
#endif  // HWY_ONCE
