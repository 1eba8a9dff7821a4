#include "secure-agg/core/masking.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <utility>
#include <vector>

#include <openssl/evp.h>

#include "base/check.h"

namespace choir::secagg {
namespace {

// A multiple of 2, 3, 4 and 64 that leaves room for two blocks in a 64 KiB first-level cache.
constexpr size_t kBlockBytes = 24576;
constexpr std::array<uint8_t, kBlockBytes> kZeros{};
// A cipher context takes under 1 KiB; more masks at once would push the accumulator out of the
// cache.
constexpr size_t kMasksAtOnce = 256;

// 64 bytes at a time: a fixed count is what the compiler turns into vector instructions.
template <typename Word, bool kAdd>
void Combine(uint8_t* acc, const uint8_t* words, size_t bytes) {
  constexpr size_t kLanes = 64 / sizeof(Word);
  size_t i = 0;
  for (; i + 64 <= bytes; i += 64) {
    Word a[kLanes];
    Word b[kLanes];
    std::memcpy(a, acc + i, 64);
    std::memcpy(b, words + i, 64);
    for (size_t lane = 0; lane < kLanes; ++lane) {
      a[lane] = static_cast<Word>(kAdd ? a[lane] + b[lane] : a[lane] - b[lane]);
    }
    std::memcpy(acc + i, a, 64);
  }
  for (; i < bytes; i += sizeof(Word)) {
    Word a = 0;
    Word b = 0;
    std::memcpy(&a, acc + i, sizeof(Word));
    std::memcpy(&b, words + i, sizeof(Word));
    a = static_cast<Word>(kAdd ? a + b : a - b);
    std::memcpy(acc + i, &a, sizeof(Word));
  }
}

// Two words of 24 bits in one of 64: the top bit of each is kept out of the way, so that no carry
// or borrow crosses from the lower word into the upper. The highest 16 bits are anything.
template <bool kAdd>
uint64_t CombinePair24(uint64_t a, uint64_t b) {
  constexpr uint64_t kTop = 0x800000800000;
  constexpr uint64_t kRest = 0x7fffff7fffff;
  return kAdd ? ((a & kRest) + (b & kRest)) ^ ((a ^ b) & kTop)
              : ((a | kTop) - (b & kRest)) ^ ((a ^ ~b) & kTop);
}

// Reads eight bytes for six; the last words, which have no eight, go by themselves.
template <bool kAdd>
void Combine24(uint8_t* acc, const uint8_t* words, size_t bytes) {
  size_t i = 0;
  for (; i + 8 <= bytes; i += 6) {
    uint64_t a = 0;
    uint64_t b = 0;
    std::memcpy(&a, acc + i, 8);
    std::memcpy(&b, words + i, 8);
    const uint64_t sum = CombinePair24<kAdd>(a, b);
    const auto low = static_cast<uint32_t>(sum);
    const auto high = static_cast<uint16_t>(sum >> 32);
    std::memcpy(acc + i, &low, 4);
    std::memcpy(acc + i + 4, &high, 2);
  }
  for (; i < bytes; i += 3) {
    uint64_t a = 0;
    uint64_t b = 0;
    std::memcpy(&a, acc + i, 3);
    std::memcpy(&b, words + i, 3);
    const uint64_t sum = CombinePair24<kAdd>(a, b);
    std::memcpy(acc + i, &sum, 3);
  }
}

template <bool kAdd>
void CombineWords(std::span<uint8_t> acc, std::span<const uint8_t> words, uint32_t bits) {
  CHOIR_CHECK(acc.size() == words.size() && acc.size() % (bits / 8) == 0);
  static_assert(std::endian::native == std::endian::little, "words are packed little-endian");
  switch (bits) {
    case 16:
      return Combine<uint16_t, kAdd>(acc.data(), words.data(), acc.size());
    case 24:
      return Combine24<kAdd>(acc.data(), words.data(), acc.size());
    case 32:
      return Combine<uint32_t, kAdd>(acc.data(), words.data(), acc.size());
    default:
      CHOIR_CHECK(false);
  }
}

void ApplyGroup(std::span<uint8_t> packed, uint32_t bits, Prg prg, std::span<const Mask> masks) {
  std::vector<MaskStream> streams;
  streams.reserve(masks.size());
  for (const Mask& mask : masks) streams.emplace_back(prg, mask.key);
  std::vector<uint8_t> block(std::min(kBlockBytes, packed.size()));
  for (size_t offset = 0; offset < packed.size(); offset += kBlockBytes) {
    const std::span<uint8_t> acc =
        packed.subspan(offset, std::min(kBlockBytes, packed.size() - offset));
    const std::span<uint8_t> mask_bytes = std::span(block).first(acc.size());
    for (size_t i = 0; i < masks.size(); ++i) {
      streams[i].Next(mask_bytes);
      if (masks[i].add) {
        AddWords(acc, mask_bytes, bits);
      } else {
        SubtractWords(acc, mask_bytes, bits);
      }
    }
  }
  WipeBytes(block);
}

}  // namespace

struct MaskStream::Context {
  EVP_CIPHER_CTX* cipher = EVP_CIPHER_CTX_new();
  Context() = default;
  ~Context() { EVP_CIPHER_CTX_free(cipher); }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
};

MaskStream::MaskStream(Prg prg, const SecretBytes<32>& key)
    : context_(std::make_unique<Context>()) {
  const EVP_CIPHER* cipher = prg == Prg::kAes256Ctr ? EVP_aes_256_ctr() : EVP_chacha20();
  constexpr uint8_t kStart[16] = {};
  CHOIR_CHECK(context_->cipher != nullptr && EVP_EncryptInit_ex(context_->cipher, cipher, nullptr,
                                                                key.Expose().data(), kStart) == 1);
}

MaskStream::~MaskStream() = default;
MaskStream::MaskStream(MaskStream&&) noexcept = default;
MaskStream& MaskStream::operator=(MaskStream&&) noexcept = default;

void MaskStream::Next(std::span<uint8_t> out) {
  while (!out.empty()) {
    const int size = static_cast<int>(std::min(out.size(), kZeros.size()));
    int written = 0;
    CHOIR_CHECK(EVP_EncryptUpdate(context_->cipher, out.data(), &written, kZeros.data(), size) ==
                    1 &&
                written == size);
    out = out.subspan(static_cast<size_t>(size));
  }
}

void AddWords(std::span<uint8_t> acc, std::span<const uint8_t> words, uint32_t bits) {
  CombineWords<true>(acc, words, bits);
}

void SubtractWords(std::span<uint8_t> acc, std::span<const uint8_t> words, uint32_t bits) {
  CombineWords<false>(acc, words, bits);
}

void ApplyMasks(std::span<uint8_t> packed, uint32_t bits, Prg prg, std::span<const Mask> masks) {
  for (size_t i = 0; i < masks.size(); i += kMasksAtOnce) {
    ApplyGroup(packed, bits, prg, masks.subspan(i, std::min(kMasksAtOnce, masks.size() - i)));
  }
}

}  // namespace choir::secagg
