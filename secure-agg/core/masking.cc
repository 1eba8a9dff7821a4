#include "secure-agg/core/masking.h"

#include <algorithm>
#include <array>

#include <openssl/evp.h>

#include "base/check.h"

namespace choir::secagg {
namespace {

// Zeros, mask and sum of one block stay in a first-level cache of 32 KiB together. A multiple of
// 192, so that blocks end with whole words and whole blocks of the ciphers.
constexpr size_t kBlockBytes = 9216;
// A range of the vector stays in the second-level cache while one mask after the other comes over
// it.
constexpr size_t kRangeBytes = 20 * kBlockBytes;
static_assert(kBlockBytes % 192 == 0);
constexpr std::array<uint8_t, kBlockBytes> kZeros{};

void ApplyToRange(std::span<uint8_t> range, uint64_t offset, uint32_t bits, Prg prg,
                  std::span<const Mask> masks) {
  std::array<uint8_t, kBlockBytes> block;
  MaskStream stream(prg, masks.front().key);
  for (const Mask& mask : masks) {
    stream.Restart(mask.key, offset);
    for (size_t begin = 0; begin < range.size(); begin += kBlockBytes) {
      const std::span<uint8_t> acc =
          range.subspan(begin, std::min(kBlockBytes, range.size() - begin));
      const std::span<uint8_t> words = std::span(block).first(acc.size());
      stream.Next(words);
      if (mask.add) {
        AddWords(acc, words, bits);
      } else {
        SubtractWords(acc, words, bits);
      }
    }
  }
  WipeBytes(block);
}

}  // namespace

struct MaskStream::Context {
  explicit Context(Prg wanted) : prg(wanted), cipher(EVP_CIPHER_CTX_new()) {}
  ~Context() { EVP_CIPHER_CTX_free(cipher); }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  Prg prg;
  EVP_CIPHER_CTX* cipher;
};

MaskStream::MaskStream(Prg prg, const SecretBytes<32>& key)
    : context_(std::make_unique<Context>(prg)) {
  const EVP_CIPHER* cipher = prg == Prg::kAes256Ctr ? EVP_aes_256_ctr() : EVP_chacha20();
  CHOIR_CHECK(context_->cipher != nullptr &&
              EVP_EncryptInit_ex(context_->cipher, cipher, nullptr, nullptr, nullptr) == 1);
  Restart(key, 0);
}

MaskStream::~MaskStream() = default;
MaskStream::MaskStream(MaskStream&&) noexcept = default;
MaskStream& MaskStream::operator=(MaskStream&&) noexcept = default;

void MaskStream::Restart(const SecretBytes<32>& key, uint64_t offset_bytes) {
  CHOIR_CHECK(offset_bytes % 64 == 0 && offset_bytes < uint64_t{1} << 38);
  // ChaCha20's counter is the first four bytes, little-endian; CTR mode's block is one big-endian
  // number.
  std::array<uint8_t, 16> start{};
  const bool aes = context_->prg == Prg::kAes256Ctr;
  const uint64_t counter = offset_bytes / (aes ? 16 : 64);
  for (size_t i = 0; i < 8; ++i) {
    start[aes ? 15 - i : i] = static_cast<uint8_t>(counter >> (8 * i));
  }
  CHOIR_CHECK(EVP_EncryptInit_ex(context_->cipher, nullptr, nullptr, key.Expose().data(),
                                 start.data()) == 1);
}

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

void ApplyMasks(std::span<uint8_t> packed, uint32_t bits, Prg prg, std::span<const Mask> masks,
                ParallelFor parallel) {
  if (masks.empty()) return;
  const size_t ranges = (packed.size() + kRangeBytes - 1) / kRangeBytes;
  parallel(ranges, [&](size_t i) {
    const size_t begin = i * kRangeBytes;
    ApplyToRange(packed.subspan(begin, std::min(kRangeBytes, packed.size() - begin)), begin, bits,
                 prg, masks);
  });
}

}  // namespace choir::secagg
