#ifndef CHOIR_ENGINE_BACKEND_VULKAN_KERNELS_PRODUCTS_H_
#define CHOIR_ENGINE_BACKEND_VULKAN_KERNELS_PRODUCTS_H_

// The three matrix products, as dispatches. LoRA factors are optional second products of the same
// dispatch (null: none).

#include "absl/status/status.h"

#include "engine/backend/vulkan/kernel.h"

namespace choir::engine::vulkan {

// Rows [first_row, first_row + tile.rows) of W give these columns of y.
struct NtProduct {
  const TensorView& x;            // (T, C)
  const TensorView& weight;       // format and row length of the tile
  RowTile tile;                   // of the weight's rows
  const TensorView* u = nullptr;  // (T, R)
  const TensorView* b = nullptr;  // (N, R), all rows
  float beta = 0;
  const TensorView& y;   // (T, ld_y), written at columns first_column..
  int64_t first_column;  // where the tile's first row goes
};
// y[t][first_column + n] = sum_c x[t][c] W[n][c] + beta * sum_r u[t][r] b[n][r]
absl::Status EmitNt(KernelContext& context, const NtProduct& product);

struct NnProduct {
  const TensorView& dy;      // (T, ld_dy), read from column first_column on
  int64_t first_column;      // that belongs to the tile's first row
  const TensorView& weight;  // format and row length of the tile
  RowTile tile;
  float alpha = 1;
  const TensorView* v = nullptr;    // (T, R)
  const TensorView* a = nullptr;    // (R, C)
  const TensorView* acc = nullptr;  // (T, C), may be dx
  const TensorView& dx;             // (T, C)
};
// dx[t][c] = alpha * sum_n dy[t][n] W[n][c] + sum_r v[t][r] a[r][c] + acc[t][c]
absl::Status EmitNn(KernelContext& context, const NnProduct& product);

// out[m][n] += alpha * sum_t a[t][m] b[t][n]
absl::Status EmitTn(KernelContext& context, const TensorView& a, const TensorView& b, float alpha,
                    const TensorView& out);

// A plain f32 matrix as the one tile of a weight.
absl::StatusOr<RowTile> WholeMatrix(const KernelContext& context, const TensorView& matrix);

}  // namespace choir::engine::vulkan

#endif  // CHOIR_ENGINE_BACKEND_VULKAN_KERNELS_PRODUCTS_H_
