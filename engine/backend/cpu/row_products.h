#ifndef CHOIR_ENGINE_BACKEND_CPU_ROW_PRODUCTS_H_
#define CHOIR_ENGINE_BACKEND_CPU_ROW_PRODUCTS_H_

// Products of one vector with the rows of a small matrix of f32 or f16 (by their bits), for the
// best instruction set of this CPU: attention of a few queries, where a call of a matrix product
// costs more than its arithmetic. Rows have `cols` elements and lie `stride` apart.

#include <cstdint>

namespace choir::engine {

// out[j] = x . rows[j]
void DotRows(const float* x, const float* rows, int64_t stride, int64_t num_rows, int64_t cols,
             float* out);
void DotRows(const float* x, const uint16_t* rows, int64_t stride, int64_t num_rows, int64_t cols,
             float* out);
// out += sum_j weights[j] * rows[j]
void AddWeightedRows(const float* weights, const float* rows, int64_t stride, int64_t num_rows,
                     int64_t cols, float* out);
void AddWeightedRows(const float* weights, const uint16_t* rows, int64_t stride, int64_t num_rows,
                     int64_t cols, float* out);

// out[j] += factor * (x . rows[j]), rows side by side; made for few columns, as an adapter's B has.
void AddThinProducts(float factor, const float* x, const float* rows, int64_t num_rows,
                     int64_t cols, float* out);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_BACKEND_CPU_ROW_PRODUCTS_H_
