#ifndef CHOIR_ENGINE_BACKEND_CPU_ROW_PRODUCTS_H_
#define CHOIR_ENGINE_BACKEND_CPU_ROW_PRODUCTS_H_

// Products of one vector with the rows of a small f32 matrix, for the best instruction set of this
// CPU: attention of a few queries, where a call of a matrix product costs more than its arithmetic.
// Rows have `cols` elements and lie `stride` apart.

#include <cstdint>

namespace choir::engine {

// out[j] = x . rows[j]
void DotRows(const float* x, const float* rows, int64_t stride, int64_t num_rows, int64_t cols,
             float* out);
// out += sum_j weights[j] * rows[j]
void AddWeightedRows(const float* weights, const float* rows, int64_t stride, int64_t num_rows,
                     int64_t cols, float* out);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_BACKEND_CPU_ROW_PRODUCTS_H_
