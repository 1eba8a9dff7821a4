#include "privacy/random_bits.h"

#include <cstring>

#include "base/check.h"
#include "base/secret.h"

namespace choir::privacy {
namespace {

__extension__ using U128 = unsigned __int128;

}  // namespace

RandomBits::~RandomBits() {
  WipeBytes(block_);
  coins_ = 0;
}

void RandomBits::Take(uint8_t* out, size_t count) {
  if (block_.size() - used_ < count) {
    source_.Fill(block_);
    used_ = 0;
  }
  std::memcpy(out, block_.data() + used_, count);
  used_ += count;
}

uint64_t RandomBits::Next64() {
  std::array<uint8_t, 8> bytes{};
  Take(bytes.data(), bytes.size());
  uint64_t value = 0;
  for (size_t i = 0; i < bytes.size(); ++i) value |= uint64_t{bytes[i]} << (8 * i);
  return value;
}

uint32_t RandomBits::Next32() {
  std::array<uint8_t, 4> bytes{};
  Take(bytes.data(), bytes.size());
  uint32_t value = 0;
  for (size_t i = 0; i < bytes.size(); ++i) value |= uint32_t{bytes[i]} << (8 * i);
  return value;
}

bool RandomBits::Flip() {
  if (coins_left_ == 0) {
    coins_ = Next32();
    coins_left_ = 32;
  }
  const bool heads = (coins_ & 1) != 0;
  coins_ >>= 1;
  --coins_left_;
  return heads;
}

uint64_t RandomBits::Below(uint64_t bound) {
  CHOIR_CHECK(bound > 0);
  if (bound <= UINT32_MAX) {
    const auto narrow = static_cast<uint32_t>(bound);
    uint64_t product = uint64_t{Next32()} * narrow;
    if (static_cast<uint32_t>(product) < narrow) {
      const uint32_t reject_below = (0u - narrow) % narrow;
      while (static_cast<uint32_t>(product) < reject_below) product = uint64_t{Next32()} * narrow;
    }
    return product >> 32;
  }
  U128 product = U128{Next64()} * bound;
  if (static_cast<uint64_t>(product) < bound) {
    const uint64_t reject_below = (uint64_t{0} - bound) % bound;
    while (static_cast<uint64_t>(product) < reject_below) product = U128{Next64()} * bound;
  }
  return static_cast<uint64_t>(product >> 64);
}

bool RandomBits::FlipExp(uint64_t numerator, uint64_t denominator) {
  // A coin of numerator / (denominator * k) is two coins that must both fall.
  const bool certain = numerator == denominator;
  uint64_t k = 1;
  while ((k == 1 || Below(k) == 0) && (certain || Below(denominator) < numerator)) ++k;
  return k % 2 == 1;
}

}  // namespace choir::privacy
