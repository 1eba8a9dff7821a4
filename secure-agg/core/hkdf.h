#ifndef CHOIR_SECURE_AGG_CORE_HKDF_H_
#define CHOIR_SECURE_AGG_CORE_HKDF_H_

#include <cstdint>
#include <span>
#include <string_view>

#include "base/secret.h"

namespace choir::secagg {

// HKDF-SHA-256, extract and expand (RFC 5869). An empty salt means 32 zero bytes; `out` at most
// 8160 bytes, `key` not empty.
void HkdfSha256(std::span<const uint8_t> key, std::span<const uint8_t> salt,
                std::span<const uint8_t> info, std::span<uint8_t> out);

// 32 bytes under a label.
SecretBytes<32> DeriveSecret(std::span<const uint8_t> key, std::span<const uint8_t> salt,
                             std::string_view label);

}  // namespace choir::secagg

#endif  // CHOIR_SECURE_AGG_CORE_HKDF_H_
