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
DispatchBuilder Begin(KernelContext& context, const NtProduct& product, const std::string& shader,
                      const TensorView& x) {
  DispatchBuilder dispatch = context.Shader(shader);
  const int64_t rank = Rank(product.u);
  dispatch.Read(x).Weight(product.tile.range);
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

// x as 16-bit integers (pack_vector.comp): twelve words for sixteen elements.
absl::StatusOr<TensorView> PackVectors(KernelContext& context, const TensorView& x) {
  const int64_t count = x.desc.shape.NumElements();
  const TensorView packed = context.Scratch(1, count / 16 * 12);
  CHOIR_RETURN_IF_ERROR(context.Shader("pack_vector")
                            .Read(x)
                            .Write(packed)
                            .Push(count)
                            .FlatGroups(count / 16)
                            .Work(8.0 * static_cast<double>(count))
                            .Emit());
  return packed;
}

const char* Suffix(ProductWay way) {
  switch (way) {
    case ProductWay::kPlain:
      return "";
    case ProductWay::kHalf:
      return "_half";
    case ProductWay::kDot:
      return "_dot";
    case ProductWay::kMatrix:
      return "_matrix";
  }
  return "";
}

absl::Status EmitFew(KernelContext& context, const NtProduct& product, const Choice& choice) {
  TensorView x = product.x;
  if (choice.way == ProductWay::kDot) {
    CHOIR_ASSIGN_OR_RETURN(x, PackVectors(context, product.x));
  }
  DispatchBuilder dispatch = Begin(context, product, ShaderOf(product, choice.way), x);
  PushSizes(product, dispatch);
  return dispatch.Constants({choice.block.m})
      .Groups((product.tile.rows + kMatvecRows - 1) / kMatvecRows)
      .Emit();
}

// Whether the shader wants row scales (half_scale.glsl).
bool IsScaled(const Choice& choice) {
  return choice.way == ProductWay::kHalf || choice.way == ProductWay::kMatrix;
}

constexpr int64_t kMatrixTile = 64;  // kTile in matrix_multiply.glsl

absl::Status EmitTiles(KernelContext& context, DispatchBuilder& dispatch, const Choice& choice,
                       const Shape& result) {
  if (choice.way != ProductWay::kMatrix) {
    return dispatch.Constants({choice.block.m, choice.block.n})
        .Groups(GroupsN(choice.block, result.cols), GroupsM(choice.block, result.rows))
        .Emit();
  }
  const DeviceCaps& caps = context.caps();
  return dispatch.Constants({caps.subgroup_size, caps.matrix.m, caps.matrix.n, caps.matrix.k})
      .FullSubgroups()
      .Groups((result.cols + kMatrixTile - 1) / kMatrixTile,
              (result.rows + kMatrixTile - 1) / kMatrixTile)
      .Emit();
}

}  // namespace

std::string ShaderOf(const NtProduct& product, ProductWay way) {
  const std::string plain = IsFew(product) ? "matvec" : "matmul_nt";
  return KernelContext::Variant(plain + Suffix(way), product.weight);
}

std::string ShaderOf(const NnProduct& product, ProductWay way) {
  return KernelContext::Variant(std::string("matmul_nn") + Suffix(way), product.weight);
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
  if (IsFew(product)) return EmitFew(context, product, choice);
  const Shape x = product.x.desc.shape;
  TensorView scales;
  if (IsScaled(choice)) {
    CHOIR_ASSIGN_OR_RETURN(scales, RowScales(context, product.x, x.rows, x.cols, x.cols));
  }
  DispatchBuilder dispatch = Begin(context, product, ShaderOf(product, choice.way), product.x);
  if (IsScaled(choice)) dispatch.Read(scales);
  PushSizes(product, dispatch);
  return EmitTiles(context, dispatch, choice, {x.rows, product.tile.rows});
}

absl::Status EmitBy(KernelContext& context, const NnProduct& product, const Choice& choice) {
  const Shape dx = product.dx.desc.shape;
  TensorView scales;
  if (IsScaled(choice)) {
    const TensorView dy = FromColumn(product.dy, product.first_column);
    CHOIR_ASSIGN_OR_RETURN(
        scales, RowScales(context, dy, dx.rows, product.tile.rows, product.dy.desc.shape.cols));
  }
  DispatchBuilder dispatch = Begin(context, product, ShaderOf(product, choice.way));
  if (IsScaled(choice)) dispatch.Read(scales);
  PushSizes(product, dispatch);
  return EmitTiles(context, dispatch, choice, dx);
}

}  // namespace choir::engine::vulkan
