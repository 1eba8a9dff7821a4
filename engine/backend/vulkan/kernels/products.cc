#include "engine/backend/vulkan/kernels/products.h"

#include <fmt/format.h>

#include "base/status_macros.h"
#include "engine/backend/vulkan/kernels/lane_products.h"

namespace choir::engine::vulkan {
namespace {

// At most this many tokens go through matvec, which reads the weights once for all of them; beyond,
// the tiled product is faster.
constexpr int64_t kMaxMatvecTokens = 4;
constexpr int64_t kMatvecRows = 4;  // kRows in matvec.comp

int64_t CeilDiv(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

// Results that one invocation holds: rows x columns (TM, TN of tile_multiply.glsl).
struct Block {
  uint32_t m;
  uint32_t n;

  [[nodiscard]] int64_t GroupsM(int64_t rows) const { return CeilDiv(rows, 16 * m); }
  [[nodiscard]] int64_t GroupsN(int64_t cols) const { return CeilDiv(cols, 16 * n); }
};

// Fewer workgroups than this would leave parts of a GPU idle.
constexpr int64_t kManyGroups = 64;

// Along a short side (a LoRA rank, a few tokens) a large block would be mostly padding. Blocks of
// 8 x 8 read shared memory half as often as those of 4 x 4; but they make a quarter of the
// workgroups. Only these five shapes, because each is a pipeline that the driver compiles.
Block ChooseBlock(const KernelContext& context, int64_t rows, int64_t cols) {
  const Block large{8, 8};
  const int64_t groups = large.GroupsM(rows) * large.GroupsN(cols);
  if (rows > 64 && cols > 64 && (context.caps().IsSoftware() || groups >= kManyGroups)) {
    return large;
  }
  return {rows > 16 ? 4u : 1u, cols > 16 ? 4u : 1u};
}

int64_t RowBytes(const TensorView& weight) {
  return SizeBytes(weight.desc) / weight.desc.shape.rows;
}

int64_t Rank(const TensorView* factor) {
  return factor == nullptr ? 0 : factor->desc.shape.cols;
}

void ReadOrUnused(DispatchBuilder& dispatch, const TensorView* view) {
  if (view == nullptr) {
    dispatch.Unused();
  } else {
    dispatch.Read(*view);
  }
}

// Columns first.. of a matrix: the same rows and stride, a later start.
TensorView FromColumn(TensorView matrix, int64_t first) {
  const int64_t count = matrix.desc.shape.NumElements() - first;
  return KernelContext::Slice(matrix, first, count);
}

}  // namespace

absl::StatusOr<RowTile> WholeMatrix(const KernelContext& context, const TensorView& matrix) {
  CHOIR_ASSIGN_OR_RETURN(const Range range, context.RangeOf(matrix));
  return RowTile{0, matrix.desc.shape.rows, range};
}

absl::Status EmitNt(KernelContext& context, const NtProduct& product) {
  const Shape x = product.x.desc.shape;
  const int64_t rows = product.tile.rows;
  const int64_t rank = Rank(product.u);
  const bool few = x.rows <= kMaxMatvecTokens;
  if (!few && FitsLanes(context, product)) return EmitLaneNt(context, product);
  DispatchBuilder dispatch =
      context.Shader(KernelContext::Variant(few ? "matvec" : "matmul_nt", product.weight));
  dispatch.Read(product.x).Weight(product.tile.range);
  ReadOrUnused(dispatch, product.u);
  if (product.b == nullptr) {
    dispatch.Unused();
  } else {
    dispatch.Read(KernelContext::Slice(*product.b, product.tile.first_row * rank, rows * rank));
  }
  dispatch.Write(FromColumn(product.y, product.first_column))
      .Push(x.rows)
      .Push(x.cols)
      .Push(rows)
      .Push(RowBytes(product.weight))
      .Push(product.y.desc.shape.cols)
      .Push(rank)
      .Push(product.beta)
      .Work(2.0 * static_cast<double>(x.rows) * static_cast<double>(rows) *
            static_cast<double>(x.cols + rank));
  if (few) {
    dispatch.Constants({x.rows == 1 ? 1u : static_cast<uint32_t>(kMaxMatvecTokens)})
        .Groups(CeilDiv(rows, kMatvecRows));
  } else {
    const Block block = ChooseBlock(context, x.rows, rows);
    dispatch.Constants({block.m, block.n}).Groups(block.GroupsN(rows), block.GroupsM(x.rows));
  }
  return dispatch.Emit();
}

absl::Status EmitNn(KernelContext& context, const NnProduct& product) {
  if (FitsLanes(context, product)) return EmitLaneNn(context, product);
  const Shape dx = product.dx.desc.shape;
  const int64_t rank = Rank(product.v);
  const Block block = ChooseBlock(context, dx.rows, dx.cols);
  DispatchBuilder dispatch = context.Shader(KernelContext::Variant("matmul_nn", product.weight));
  dispatch.Read(FromColumn(product.dy, product.first_column)).Weight(product.tile.range);
  ReadOrUnused(dispatch, product.v);
  ReadOrUnused(dispatch, product.a);
  ReadOrUnused(dispatch, product.acc);
  return dispatch.Write(product.dx)
      .Constants({block.m, block.n})
      .Push(dx.rows)
      .Push(dx.cols)
      .Push(product.tile.rows)
      .Push(RowBytes(product.weight))
      .Push(product.dy.desc.shape.cols)
      .Push(rank)
      .Push(static_cast<uint32_t>(product.acc != nullptr))
      .Push(product.alpha)
      .Groups(block.GroupsN(dx.cols), block.GroupsM(dx.rows))
      .Work(2.0 * static_cast<double>(dx.NumElements()) *
            static_cast<double>(product.tile.rows + rank))
      .Emit();
}

absl::Status EmitTn(KernelContext& context, const TensorView& a, const TensorView& b, float alpha,
                    const TensorView& out) {
  if (FitsLanes(context, a, b)) return EmitLaneTn(context, a, b, alpha, out);
  const Shape shape = out.desc.shape;
  const Block block = ChooseBlock(context, shape.rows, shape.cols);
  const int64_t tokens = a.desc.shape.rows;
  return context.Shader("matmul_tn")
      .Read(a)
      .Read(b)
      .Update(out)
      .Constants({block.m, block.n})
      .Push(tokens)
      .Push(shape.rows)
      .Push(shape.cols)
      .Push(alpha)
      .Groups(block.GroupsN(shape.cols), block.GroupsM(shape.rows))
      .Work(2.0 * static_cast<double>(shape.NumElements()) * static_cast<double>(tokens))
      .Emit();
}

}  // namespace choir::engine::vulkan
