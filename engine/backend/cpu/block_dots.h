#ifndef CHOIR_ENGINE_BACKEND_CPU_BLOCK_DOTS_H_
#define CHOIR_ENGINE_BACKEND_CPU_BLOCK_DOTS_H_

// Products of a few vectors with the rows of a frozen weight, straight from its blocks: generation
// reads every weight once a token, and this is the loop that keeps up with memory.
//
// The vector is written once as integers, small groups of which have a scale of their own, in the
// order in which the bits of a block come apart. What is left for each weight is a shift, a mask
// and an integer product; one scale a block or group is applied to the exact integer sum.
// docs/decisions/0026-integer-vectors-for-generation.md and
// 0029-byte-vectors-for-ternary-weights.md say why.

#include <cstdint>

#include "engine/quant/weight_format.h"

namespace choir::engine {

// How the vector is written. Errors are shares of the largest element of those that have one scale.
enum class DotPrecision : uint8_t {
  // One 16-bit integer an element: 2^-16, a hundredth of bf16's rounding. TQ2_0, where the
  // processor
  // multiplies bytes: one byte, 2^-8, 16 elements to a scale.
  kShort,
  k31Bits,  // two of them: below the rounding of f32
};

struct DotLoop;  // of one format, precision and instruction set

class BlockDots {
 public:
  // Is there a loop for this format?
  static bool Has(const WeightFormat& format);

  // `cols`: whole blocks.
  BlockDots(const WeightFormat& format, int64_t cols, DotPrecision precision);

  // Of one vector, a multiple of 64.
  [[nodiscard]] int64_t prepared_bytes() const { return prepared_bytes_; }
  // x: `cols` floats; prepared: 64-byte aligned.
  void Prepare(const float* x, uint8_t* prepared) const;
  // out[i] = x . row i, of `num_rows` rows that lie one after another.
  void Run(const uint8_t* prepared, const uint8_t* rows, int64_t num_rows, float* out) const;

 private:
  const DotLoop* loop_;
  int64_t cols_;
  int64_t prepared_bytes_;
};

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_BACKEND_CPU_BLOCK_DOTS_H_
