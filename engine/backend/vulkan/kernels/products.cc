#include "engine/backend/vulkan/kernels/products.h"

#include <string>
#include <vector>

#include "absl/functional/function_ref.h"

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

int64_t GroupsM(const Block& block, int64_t rows) {
  return CeilDiv(rows, 16 * block.m);
}
int64_t GroupsN(const Block& block, int64_t cols) {
  return CeilDiv(cols, 16 * block.n);
}

// Fewer workgroups than this would leave parts of a GPU idle.
constexpr int64_t kManyGroups = 64;

// Along a short side (a LoRA rank, a few tokens) a large block would be mostly padding. Blocks of
// 8 x 8 read shared memory half as often as those of 4 x 4; but they make a quarter of the
// workgroups. Only these five shapes, because each is a pipeline that the driver compiles.
Block GuessBlock(const KernelContext& context, int64_t rows, int64_t cols) {
  const Block large{8, 8};
  const int64_t groups = GroupsM(large, rows) * GroupsN(large, cols);
  if (rows > 64 && cols > 64 && (context.caps().IsSoftware() || groups >= kManyGroups)) {
    return large;
  }
  return {rows > 16 ? 4u : 1u, cols > 16 ? 4u : 1u};
}

// Products below are over before a difference could be measured.
constexpr double kWorthTrying = 1e8;

// Emits the dispatch that `build` makes of the block that suits a result of rows x cols: of large
// products the fastest on this device, else a guess. What a device with shaders of its own leaves
// to these is not worth the time.
absl::Status EmitWithBlock(KernelContext& context, const std::string& shader, const Shape& result,
                           double work, absl::FunctionRef<DispatchBuilder(Block)> build) {
  Block block = GuessBlock(context, result.rows, result.cols);
  if (!context.caps().lanes && work >= kWorthTrying && result.rows > 64 && result.cols > 64) {
    std::vector<Block> candidates = {block};
    for (const Block& other : {Block{4, 4}, Block{8, 8}, Block{4, 8}, Block{8, 4}}) {
      if (other != block) candidates.push_back(other);
    }
    block = context.tuner().Fastest(ProductClass::Of(shader, result.rows, result.cols), candidates,
                                    [&](Block tried) { return build(tried).Make(); });
  }
  return build(block).Emit();
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
  const std::string shader = KernelContext::Variant(few ? "matvec" : "matmul_nt", product.weight);
  const double work = 2.0 * static_cast<double>(x.rows) * static_cast<double>(rows) *
                      static_cast<double>(x.cols + rank);
  const auto start = [&] {
    DispatchBuilder dispatch = context.Shader(shader);
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
        .Work(work);
    return dispatch;
  };
  if (few) {
    return start()
        .Constants({x.rows == 1 ? 1u : static_cast<uint32_t>(kMaxMatvecTokens)})
        .Groups(CeilDiv(rows, kMatvecRows))
        .Emit();
  }
  return EmitWithBlock(context, shader, {x.rows, rows}, work, [&](Block block) {
    DispatchBuilder dispatch = start();
    dispatch.Constants({block.m, block.n}).Groups(GroupsN(block, rows), GroupsM(block, x.rows));
    return dispatch;
  });
}

absl::Status EmitNn(KernelContext& context, const NnProduct& product) {
  if (FitsLanes(context, product)) return EmitLaneNn(context, product);
  const Shape dx = product.dx.desc.shape;
  const int64_t rank = Rank(product.v);
  const std::string shader = KernelContext::Variant("matmul_nn", product.weight);
  const double work =
      2.0 * static_cast<double>(dx.NumElements()) * static_cast<double>(product.tile.rows + rank);
  return EmitWithBlock(context, shader, dx, work, [&](Block block) {
    DispatchBuilder dispatch = context.Shader(shader);
    dispatch.Read(FromColumn(product.dy, product.first_column)).Weight(product.tile.range);
    ReadOrUnused(dispatch, product.v);
    ReadOrUnused(dispatch, product.a);
    ReadOrUnused(dispatch, product.acc);
    dispatch.Write(product.dx)
        .Constants({block.m, block.n})
        .Push(dx.rows)
        .Push(dx.cols)
        .Push(product.tile.rows)
        .Push(RowBytes(product.weight))
        .Push(product.dy.desc.shape.cols)
        .Push(rank)
        .Push(static_cast<uint32_t>(product.acc != nullptr))
        .Push(product.alpha)
        .Groups(GroupsN(block, dx.cols), GroupsM(block, dx.rows))
        .Work(work);
    return dispatch;
  });
}

absl::Status EmitTn(KernelContext& context, const TensorView& a, const TensorView& b, float alpha,
                    const TensorView& out) {
  if (FitsLanes(context, a, b)) return EmitLaneTn(context, a, b, alpha, out);
  const Shape shape = out.desc.shape;
  const int64_t tokens = a.desc.shape.rows;
  const double work = 2.0 * static_cast<double>(shape.NumElements()) * static_cast<double>(tokens);
  return EmitWithBlock(context, "matmul_tn", shape, work, [&](Block block) {
    DispatchBuilder dispatch = context.Shader("matmul_tn");
    dispatch.Read(a)
        .Read(b)
        .Update(out)
        .Constants({block.m, block.n})
        .Push(tokens)
        .Push(shape.rows)
        .Push(shape.cols)
        .Push(alpha)
        .Groups(GroupsN(block, shape.cols), GroupsM(block, shape.rows))
        .Work(work);
    return dispatch;
  });
}

}  // namespace choir::engine::vulkan
