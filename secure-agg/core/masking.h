#ifndef CHOIR_SECURE_AGG_CORE_MASKING_H_
#define CHOIR_SECURE_AGG_CORE_MASKING_H_

#include <cstdint>
#include <memory>
#include <span>

#include "base/secret.h"
#include "secure-agg/core/messages.h"

namespace choir::secagg {

// A key's stream of mask bytes: ChaCha20 (RFC 8439; counter and nonce zero) or AES-256-CTR (SP
// 800-38A; counter block zero), through OpenSSL. A key makes one stream, so nothing repeats.
class MaskStream {
 public:
  MaskStream(Prg prg, const SecretBytes<32>& key);
  ~MaskStream();
  MaskStream(MaskStream&&) noexcept;
  MaskStream& operator=(MaskStream&&) noexcept;
  // The next out.size() bytes.
  void Next(std::span<uint8_t> out);

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

// acc[i] += words[i], acc[i] -= words[i] mod 2^bits, over words packed little-endian in `bits` bits
// (16, 24 or 32). Equal sizes, a multiple of bits / 8; no alignment is asked for.
void AddWords(std::span<uint8_t> acc, std::span<const uint8_t> words, uint32_t bits);
void SubtractWords(std::span<uint8_t> acc, std::span<const uint8_t> words, uint32_t bits);

struct Mask {
  SecretBytes<32> key;
  bool add = true;  // else subtract
};

// Adds or subtracts every mask's stream over `packed`, block by block: no mask is ever a full
// vector.
void ApplyMasks(std::span<uint8_t> packed, uint32_t bits, Prg prg, std::span<const Mask> masks);

}  // namespace choir::secagg

#endif  // CHOIR_SECURE_AGG_CORE_MASKING_H_
