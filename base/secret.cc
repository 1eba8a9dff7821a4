#include "base/secret.h"

#include <sodium.h>

namespace choir {

void WipeBytes(std::span<uint8_t> bytes) {
  sodium_memzero(bytes.data(), bytes.size());
}

bool EqualConstantTime(std::span<const uint8_t> a, std::span<const uint8_t> b) {
  return a.size() == b.size() && sodium_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace choir
