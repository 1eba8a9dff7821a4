#ifndef CHOIR_ENGINE_BACKEND_CPU_BLOCK_DOTS_H_
#define CHOIR_ENGINE_BACKEND_CPU_BLOCK_DOTS_H_

// Products of a few vectors with the rows of a frozen weight, straight from its blocks: generation
// reads every weight once a token, and this is the loop that keeps up with memory.
//
// The vector is written once as integers, each block of it with a scale of its own (as long as the
// format's blocks), in the order in which the bits of a block come apart. What is left for each
// weight is a shift, a mask and an integer product; one scale a block or group is applied to the
// exact integer sum. docs/decisions/0026-integer-vectors-for-generation.md says why.

#include <cstdint>

#include "engine/quant/weight_format.h"

namespace choir::engine {

// How the vector is written. Errors are shares of a block's largest element.
enum class DotPrecision : uint8_t {
  k16Bits,  // one 16-bit integer an element: 2^-16, a hundredth of bf16's rounding
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
