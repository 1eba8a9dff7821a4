#include "engine/backend/vulkan/kernels/lane_products.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/status_macros.h"

namespace choir::engine::vulkan {
namespace {

constexpr int64_t kLanes = 8;  // local_size_x of the shader
constexpr int64_t kTexel = 4;  // f32 numbers

// Of a weight in f32: large enough to keep both threads busy, small enough for a CPU's cache.
constexpr int64_t kStagingElements = (4 << 20) / 4;

int64_t CeilDiv(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

// U or V of lane_product.comp: an f32 matrix whose rows are `row_length` numbers long.
struct Factor {
  Range range;
  int64_t row_length;
  bool along_k;  // its rows run along k
};

struct Product {
  Factor u;
  Factor v;
  int64_t rows;  // of the result
  int64_t cols;
  int64_t depth;  // terms of a sum
  int64_t row_step;
  int64_t column_step;
  float alpha = 1;
};

// The lanes run over the columns: of a result that is narrow and high they run over the rows.
Product AlongTheLongSide(const Product& product) {
  constexpr int64_t kNarrow = 4 * kLanes;
  if (product.cols >= kNarrow || product.rows <= product.cols) return product;
  Product turned = product;
  std::swap(turned.u, turned.v);
  std::swap(turned.rows, turned.cols);
  std::swap(turned.row_step, turned.column_step);
  return turned;
}

// `acc` may be null.
absl::Status Emit(KernelContext& context, const Product& wanted, const TensorView& out,
                  const TensorView* acc) {
  const Product product = AlongTheLongSide(wanted);
  // 16 x 8 vectors are 2.3 times as fast as 8 x 4 (128 x 768 x 768, lavapipe); larger blocks no
  // longer, since more of them lies in memory. Few shapes, because each is compiled.
  const uint32_t rows = product.rows <= 8 ? 8 : 16;
  const uint32_t columns = product.cols <= 4 * kLanes ? 4 : 8;
  DispatchBuilder dispatch = context.Shader("lane_product");
  dispatch.Texels(product.u.range).Texels(product.v.range).Write(out);
  if (acc == nullptr) {
    dispatch.Unused();
  } else {
    dispatch.Read(*acc);
  }
  return dispatch
      .Constants({rows, columns, static_cast<uint32_t>(product.u.along_k),
                  static_cast<uint32_t>(product.v.along_k), static_cast<uint32_t>(acc != nullptr)})
      .Push(product.rows)
      .Push(product.cols)
      .Push(product.depth)
      .Push(product.u.row_length / kTexel)
      .Push(product.v.row_length / kTexel)
      .Push(product.row_step)
      .Push(product.column_step)
      .Push(product.alpha)
      .Groups(CeilDiv(product.rows, rows), CeilDiv(product.cols, columns * kLanes))
      .Work(2.0 * static_cast<double>(product.rows) * static_cast<double>(product.cols) *
            static_cast<double>(product.depth))
      .Emit();
}

bool WholeRows(const KernelContext& context, const TensorView& view) {
  const absl::StatusOr<Range> range = context.RangeOf(view);
  return range.ok() && view.desc.shape.cols % kTexel == 0 && KernelContext::WholeTexels(*range);
}

absl::StatusOr<Factor> FactorOf(const KernelContext& context, const TensorView& view,
                                bool along_k) {
  CHOIR_ASSIGN_OR_RETURN(const Range range, context.RangeOf(view));
  return Factor{range, view.desc.shape.cols, along_k};
}

// Columns first.. of a matrix: the same rows and stride, a later start.
TensorView FromColumn(const TensorView& matrix, int64_t first) {
  return KernelContext::Slice(matrix, first, matrix.desc.shape.NumElements() - first);
}

// Rows of a weight's tile that stand in f32 at once.
struct Chunk {
  int64_t first_row;  // in the tile
  int64_t rows;
};

bool IsF32InPlace(const TensorView& weight, const RowTile& tile) {
  return FormatName(weight.desc) == "f32" && KernelContext::WholeTexels(tile.range);
}

std::vector<Chunk> ChunksOf(const TensorView& weight, const RowTile& tile) {
  // Whole groups of 64 rows, the tile of a workgroup, where there is room for one.
  int64_t most = std::max<int64_t>(kStagingElements / weight.desc.shape.cols, kTexel);
  most = most >= 64 ? most / 64 * 64 : most / kTexel * kTexel;
  if (IsF32InPlace(weight, tile)) most = tile.rows;
  std::vector<Chunk> chunks;
  for (int64_t row = 0; row < tile.rows; row += most) {
    chunks.push_back({row, std::min(most, tile.rows - row)});
  }
  return chunks;
}

// A chunk's rows in f32: where they stand, or after a dispatch that writes them.
absl::StatusOr<Range> Values(KernelContext& context, const TensorView& weight, const RowTile& tile,
                             const Chunk& chunk) {
  if (IsF32InPlace(weight, tile)) return tile.range;
  const int64_t cols = weight.desc.shape.cols;
  const int64_t row_bytes = SizeBytes(weight.desc) / weight.desc.shape.rows;
  Range rows = tile.range;
  rows.offset += static_cast<uint64_t>(chunk.first_row * row_bytes);
  rows.bytes = static_cast<uint64_t>(chunk.rows * row_bytes);
  const TensorView staging = context.Staging(std::max(kStagingElements, chunk.rows * cols));
  const TensorView values = KernelContext::Slice(staging, 0, chunk.rows * cols);
  CHOIR_RETURN_IF_ERROR(context.Shader(KernelContext::Variant("dequantize", weight))
                            .WeightTexels(rows)
                            .Write(values)
                            .Push(chunk.rows)
                            .Push(cols / kTexel)
                            .Push(row_bytes)
                            .FlatGroups(chunk.rows * cols / kTexel)
                            .Work(static_cast<double>(chunk.rows * cols))
                            .Emit());
  return context.RangeOf(values);
}

}  // namespace

bool FitsLanes(const KernelContext& context, const NtProduct& product) {
  if (!context.caps().lanes || !WholeRows(context, product.x)) return false;
  return product.u == nullptr || (WholeRows(context, *product.u) && WholeRows(context, *product.b));
}

bool FitsLanes(const KernelContext& context, const NnProduct& product) {
  if (!context.caps().lanes || product.dx.desc.shape.cols % kTexel != 0) return false;
  if (!WholeRows(context, product.dy) || product.first_column % kTexel != 0) return false;
  return product.v == nullptr || (WholeRows(context, *product.v) && WholeRows(context, *product.a));
}

bool FitsLanes(const KernelContext& context, const TensorView& a, const TensorView& b) {
  return context.caps().lanes && WholeRows(context, a) && WholeRows(context, b);
}

absl::Status EmitLaneNt(KernelContext& context, const NtProduct& product) {
  const Shape x = product.x.desc.shape;
  const int64_t ld_y = product.y.desc.shape.cols;
  CHOIR_ASSIGN_OR_RETURN(const Factor rows, FactorOf(context, product.x, true));
  for (const Chunk& chunk : ChunksOf(product.weight, product.tile)) {
    CHOIR_ASSIGN_OR_RETURN(const Range values,
                           Values(context, product.weight, product.tile, chunk));
    CHOIR_RETURN_IF_ERROR(
        Emit(context, {rows, {values, x.cols, true}, x.rows, chunk.rows, x.cols, ld_y, 1},
             FromColumn(product.y, product.first_column + chunk.first_row), nullptr));
  }
  if (product.u == nullptr) return absl::OkStatus();
  const int64_t rank = product.u->desc.shape.cols;
  TensorView b =
      KernelContext::Slice(*product.b, product.tile.first_row * rank, product.tile.rows * rank);
  b.desc.shape = {product.tile.rows, rank};
  CHOIR_ASSIGN_OR_RETURN(const Factor u, FactorOf(context, *product.u, true));
  CHOIR_ASSIGN_OR_RETURN(const Factor v, FactorOf(context, b, true));
  const TensorView y = FromColumn(product.y, product.first_column);
  return Emit(context, {u, v, x.rows, product.tile.rows, rank, ld_y, 1, product.beta}, y, &y);
}

absl::Status EmitLaneNn(KernelContext& context, const NnProduct& product) {
  const Shape dx = product.dx.desc.shape;
  const TensorView* acc = product.acc;
  for (const Chunk& chunk : ChunksOf(product.weight, product.tile)) {
    CHOIR_ASSIGN_OR_RETURN(const Range values,
                           Values(context, product.weight, product.tile, chunk));
    const TensorView dy = FromColumn(product.dy, product.first_column + chunk.first_row);
    CHOIR_ASSIGN_OR_RETURN(const Range dy_range, context.RangeOf(dy));
    CHOIR_RETURN_IF_ERROR(Emit(context,
                               {{dy_range, product.dy.desc.shape.cols, true},
                                {values, dx.cols, false},
                                dx.rows,
                                dx.cols,
                                chunk.rows,
                                dx.cols,
                                1,
                                product.alpha},
                               product.dx, acc));
    acc = &product.dx;
  }
  if (product.v == nullptr) return absl::OkStatus();
  CHOIR_ASSIGN_OR_RETURN(const Factor u, FactorOf(context, *product.v, true));
  CHOIR_ASSIGN_OR_RETURN(const Factor v, FactorOf(context, *product.a, false));
  return Emit(context, {u, v, dx.rows, dx.cols, product.v->desc.shape.cols, dx.cols, 1}, product.dx,
              &product.dx);
}

absl::Status EmitLaneTn(KernelContext& context, const TensorView& a, const TensorView& b,
                        float alpha, const TensorView& out) {
  const Shape shape = out.desc.shape;
  CHOIR_ASSIGN_OR_RETURN(const Factor u, FactorOf(context, a, false));
  CHOIR_ASSIGN_OR_RETURN(const Factor v, FactorOf(context, b, false));
  return Emit(context, {u, v, shape.rows, shape.cols, a.desc.shape.rows, shape.cols, 1, alpha}, out,
              &out);
}

}  // namespace choir::engine::vulkan
