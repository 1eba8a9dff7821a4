#ifndef CHOIR_ENGINE_OPS_DROPOUT_MASK_H_
#define CHOIR_ENGINE_OPS_DROPOUT_MASK_H_

// LoRA dropout: in training the bypass B A x sees x with some elements zeroed and the others
// scaled up, so that it is the same on average (Srivastava et al. 2014, inverted as in PEFT). No
// mask is stored: each element's fate is a function of the run's seed, the micro-batch, the adapted
// layer and the element's place, so that the backward pass, a recomputed block, a resumed run and
// every backend see the same mask.
//
// A call that drops has attributes dropout (the rate p) and dropout_site (the adapted layer), and
// an input key (1,3) i32: the seed's low and high word, the number of the micro-batch.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "engine/ops/attrs.h"
#include "engine/ops/call_check.h"
#include "engine/ops/ops.h"

namespace choir::engine {

inline constexpr int64_t kDropoutKeyWords = 3;
// At 1 nothing would be left to scale.
inline constexpr double kMaxDropout = static_cast<double>(0.99f);

using PhiloxBlock = std::array<uint32_t, 4>;

// Philox4x32-10: 128 random bits from a counter and a key (Salmon et al. 2011).
PhiloxBlock Philox4x32(PhiloxBlock counter, std::array<uint32_t, 2> key);

struct DropoutMask {
  std::array<uint32_t, 2> seed = {0, 0};
  uint32_t micro_batch = 0;
  uint32_t site = 0;
  uint32_t threshold = 0;  // p * 2^32: an element whose random word is below is dropped
  float scale = 1;         // of those that are kept: 1 / (1 - p)

  // The part that attributes say.
  static DropoutMask Of(const Attrs& attrs);
  // The same with the words of the key.
  [[nodiscard]] DropoutMask With(const int32_t* key) const;

  // Words of columns 4 * quad .. 4 * quad + 3 of a row.
  [[nodiscard]] PhiloxBlock Words(uint32_t row, uint32_t quad) const {
    return Philox4x32({quad, row, site, micro_batch}, seed);
  }
  // x with the mask applied: the reference.
  [[nodiscard]] RefTensor Apply(const RefTensor& x) const;
};

inline bool HasDropout(const Attrs& attrs) {
  return attrs.FloatOr("dropout", 0) > 0;
}
// The attributes of a call that shares another one's mask (none if that has no dropout).
Attrs WithDropoutOf(const Attrs& call, Attrs attrs);
// What the shape rule of a call that may drop demands of the attributes and of input `key`.
void CheckDropout(const Attrs& attrs, size_t key, CallCheck& check);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_OPS_DROPOUT_MASK_H_
