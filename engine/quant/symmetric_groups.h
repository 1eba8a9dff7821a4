#ifndef CHOIR_ENGINE_QUANT_SYMMETRIC_GROUPS_H_
#define CHOIR_ENGINE_QUANT_SYMMETRIC_GROUPS_H_

#include <array>
#include <cstddef>
#include <cstdint>

namespace choir::engine {

// The search behind the formats Q3_K and Q6_K: 256 values in sixteen groups of 16, each with its
// own step, x ~ (d * scales[g]) * q, with whole scales and q of either sign.
struct SymmetricGrid {
  int quants = 32;   // q is -quants to quants - 1
  int scales = 128;  // scales are -scales to scales - 1
};

struct SymmetricFit {
  uint16_t d = 0;  // f16
  std::array<int, 16> scales{};
  std::array<int8_t, 256> quants{};
};

// Small squared error, not the least there is: steps are tried around the largest value of each
// group, refined by least squares, then rounded together. Same input, same result.
SymmetricFit FitSymmetricGroups(const float* x, const SymmetricGrid& grid);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_QUANT_SYMMETRIC_GROUPS_H_
