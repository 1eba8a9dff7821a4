#ifndef CHOIR_ENGINE_QUANT_AFFINE_GROUPS_H_
#define CHOIR_ENGINE_QUANT_AFFINE_GROUPS_H_

#include <array>
#include <cstddef>
#include <cstdint>

namespace choir::engine {

// The search behind the formats Q2_K, Q4_K and Q5_K: 256 values in groups, each group g on its own
// grid, x ~ (d * scales[g]) * q - (dmin * mins[g]), with whole scales, mins and q.
struct AffineGrid {
  size_t group = 32;   // values in a group; 16 or 32
  int max_quant = 15;  // q is 0 to this
  int max_scale = 63;  // scales and mins are 0 to this
};

struct AffineFit {
  uint16_t d = 0;  // f16
  uint16_t dmin = 0;
  std::array<int, 16> scales{};  // the first 256 / group count
  std::array<int, 16> mins{};
  std::array<uint8_t, 256> quants{};
};

// Small squared error, not the least there is: grids are tried around the range of each group,
// refined by least squares, then rounded together. Same input, same result.
AffineFit FitAffineGroups(const float* x, const AffineGrid& grid);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_QUANT_AFFINE_GROUPS_H_
