#ifndef CHOIR_SECURE_AGG_CORE_PACKED_WORDS_H_
#define CHOIR_SECURE_AGG_CORE_PACKED_WORDS_H_

#include <cstdint>
#include <span>

namespace choir::secagg {

// acc[i] += words[i], acc[i] -= words[i] mod 2^bits, over words packed little-endian in `bits` bits
// (16, 24 or 32). Equal sizes, a multiple of bits / 8; no alignment is asked for.
void AddWords(std::span<uint8_t> acc, std::span<const uint8_t> words, uint32_t bits);
void SubtractWords(std::span<uint8_t> acc, std::span<const uint8_t> words, uint32_t bits);

}  // namespace choir::secagg

#endif  // CHOIR_SECURE_AGG_CORE_PACKED_WORDS_H_
