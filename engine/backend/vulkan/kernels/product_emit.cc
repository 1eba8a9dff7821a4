#include "engine/backend/vulkan/kernels/product_emit.h"

#include "base/status_macros.h"

namespace choir::engine::vulkan {
namespace {

constexpr int64_t kMatvecRows = 4;  // kRows in matvec.comp

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
TensorView FromColumn(const TensorView& matrix, int64_t first) {
  const int64_t count = matrix.desc.shape.NumElements() - first;
  return KernelContext::Slice(matrix, first, count);
}

// A power of two for each row of `cols` columns of `x`, whose own rows are `ld` long.
absl::StatusOr<TensorView> RowScales(KernelContext& context, const TensorView& x, int64_t rows,
                                     int64_t cols, int64_t ld) {
  const TensorView scales = context.Scratch(1, rows);
  CHOIR_RETURN_IF_ERROR(context.Shader("row_scales")
                            .Read(x)
                            .Write(scales)
                            .Push(cols)
                            .Push(ld)
                            .Groups(rows)
                            .Work(2.0 * static_cast<double>(rows * cols))
                            .Emit());
  return scales;
}

// The bindings that all shaders of the product have first.
DispatchBuilder Begin(KernelContext& context, const NtProduct& product, const std::string& shader) {
  DispatchBuilder dispatch = context.Shader(shader);
  const int64_t rank = Rank(product.u);
  dispatch.Read(product.x).Weight(product.tile.range);
  ReadOrUnused(dispatch, product.u);
  if (product.b == nullptr) {
    dispatch.Unused();
  } else {
    dispatch.Read(
        KernelContext::Slice(*product.b, product.tile.first_row * rank, product.tile.rows * rank));
  }
  dispatch.Write(FromColumn(product.y, product.first_column));
  return dispatch;
}

void PushSizes(const NtProduct& product, DispatchBuilder& dispatch) {
  dispatch.Push(product.x.desc.shape.rows)
      .Push(product.x.desc.shape.cols)
      .Push(product.tile.rows)
      .Push(RowBytes(product.weight))
      .Push(product.y.desc.shape.cols)
      .Push(Rank(product.u))
      .Push(product.beta)
      .Work(WorkOf(product));
}

DispatchBuilder Begin(KernelContext& context, const NnProduct& product, const std::string& shader) {
  DispatchBuilder dispatch = context.Shader(shader);
  dispatch.Read(FromColumn(product.dy, product.first_column)).Weight(product.tile.range);
  ReadOrUnused(dispatch, product.v);
  ReadOrUnused(dispatch, product.a);
  ReadOrUnused(dispatch, product.acc);
  dispatch.Write(product.dx);
  return dispatch;
}

void PushSizes(const NnProduct& product, DispatchBuilder& dispatch) {
  dispatch.Push(product.dx.desc.shape.rows)
      .Push(product.dx.desc.shape.cols)
      .Push(product.tile.rows)
      .Push(RowBytes(product.weight))
      .Push(product.dy.desc.shape.cols)
      .Push(Rank(product.v))
      .Push(static_cast<uint32_t>(product.acc != nullptr))
      .Push(product.alpha)
      .Work(WorkOf(product));
}

absl::Status EmitFew(KernelContext& context, const NtProduct& product) {
  DispatchBuilder dispatch = Begin(context, product, ShaderOf(product));
  PushSizes(product, dispatch);
  const bool one = product.x.desc.shape.rows == 1;
  return dispatch.Constants({one ? 1u : static_cast<uint32_t>(kMaxMatvecTokens)})
      .Groups((product.tile.rows + kMatvecRows - 1) / kMatvecRows)
      .Emit();
}

}  // namespace

std::string ShaderOf(const NtProduct& product) {
  return KernelContext::Variant(IsFew(product) ? "matvec" : "matmul_nt", product.weight);
}

std::string ShaderOf(const NnProduct& product) {
  return KernelContext::Variant("matmul_nn", product.weight);
}

double WorkOf(const NtProduct& product) {
  const Shape x = product.x.desc.shape;
  return 2.0 * static_cast<double>(x.rows) * static_cast<double>(product.tile.rows) *
         static_cast<double>(x.cols + Rank(product.u));
}

double WorkOf(const NnProduct& product) {
  return 2.0 * static_cast<double>(product.dx.desc.shape.NumElements()) *
         static_cast<double>(product.tile.rows + Rank(product.v));
}

absl::Status EmitBy(KernelContext& context, const NtProduct& product, const Choice& choice) {
  if (IsFew(product)) return EmitFew(context, product);
  const Shape x = product.x.desc.shape;
  const bool half = choice.way == ProductWay::kHalf;
  TensorView scales;
  if (half) {
    CHOIR_ASSIGN_OR_RETURN(scales, RowScales(context, product.x, x.rows, x.cols, x.cols));
  }
  const std::string shader =
      KernelContext::Variant(half ? "matmul_nt_half" : "matmul_nt", product.weight);
  DispatchBuilder dispatch = Begin(context, product, shader);
  if (half) dispatch.Read(scales);
  PushSizes(product, dispatch);
  return dispatch.Constants({choice.block.m, choice.block.n})
      .Groups(GroupsN(choice.block, product.tile.rows), GroupsM(choice.block, x.rows))
      .Emit();
}

absl::Status EmitBy(KernelContext& context, const NnProduct& product, const Choice& choice) {
  const Shape dx = product.dx.desc.shape;
  const bool half = choice.way == ProductWay::kHalf;
  TensorView scales;
  if (half) {
    const TensorView dy = FromColumn(product.dy, product.first_column);
    CHOIR_ASSIGN_OR_RETURN(
        scales, RowScales(context, dy, dx.rows, product.tile.rows, product.dy.desc.shape.cols));
  }
  const std::string shader =
      KernelContext::Variant(half ? "matmul_nn_half" : "matmul_nn", product.weight);
  DispatchBuilder dispatch = Begin(context, product, shader);
  if (half) dispatch.Read(scales);
  PushSizes(product, dispatch);
  return dispatch.Constants({choice.block.m, choice.block.n})
      .Groups(GroupsN(choice.block, dx.cols), GroupsM(choice.block, dx.rows))
      .Emit();
}

}  // namespace choir::engine::vulkan
