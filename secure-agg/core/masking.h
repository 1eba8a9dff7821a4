#ifndef CHOIR_SECURE_AGG_CORE_MASKING_H_
#define CHOIR_SECURE_AGG_CORE_MASKING_H_

#include <cstdint>
#include <memory>
#include <span>

#include "base/parallel.h"
#include "base/secret.h"
#include "secure-agg/core/messages.h"
#include "secure-agg/core/packed_words.h"

namespace choir::secagg {

// A key's stream of mask bytes: ChaCha20 (RFC 8439; counter and nonce zero) or AES-256-CTR (SP
// 800-38A; counter block zero), through OpenSSL. A key makes one stream, so nothing repeats.
class MaskStream {
 public:
  MaskStream(Prg prg, const SecretBytes<32>& key);
  ~MaskStream();
  MaskStream(MaskStream&&) noexcept;
  MaskStream& operator=(MaskStream&&) noexcept;
  // Goes to `offset_bytes`, a multiple of 64 below 2^38, of another key's stream: cheaper than a
  // new object.
  void Restart(const SecretBytes<32>& key, uint64_t offset_bytes);
  // The next out.size() bytes.
  void Next(std::span<uint8_t> out);

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

struct Mask {
  SecretBytes<32> key;
  bool add = true;  // else subtract
};

// Adds or subtracts every mask's stream over `packed`. Generated and added block by block, so no
// mask is ever a full vector; the vector's ranges are the parallel tasks.
void ApplyMasks(std::span<uint8_t> packed, uint32_t bits, Prg prg, std::span<const Mask> masks,
                ParallelFor parallel = RunInOrder);

}  // namespace choir::secagg

#endif  // CHOIR_SECURE_AGG_CORE_MASKING_H_
