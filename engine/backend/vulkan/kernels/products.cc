#include "engine/backend/vulkan/kernels/products.h"

#include <string>
#include <vector>

#include "base/status_macros.h"
#include "engine/backend/vulkan/kernels/lane_products.h"
#include "engine/backend/vulkan/kernels/product_emit.h"
#include "engine/backend/vulkan/kernels/product_trials.h"
#include "engine/backend/vulkan/shader_table.h"

namespace choir::engine::vulkan {
namespace {

// Fewer workgroups than this would leave parts of a GPU idle.
constexpr int64_t kManyGroups = 64;

// Along a short side (a LoRA rank, a few tokens) a large block would be mostly padding. Blocks of
// 8 x 8 read shared memory half as often as those of 4 x 4; but they make a quarter of the
// workgroups. Only these five shapes, because each is a pipeline that the driver compiles.
Block GuessBlock(const KernelContext& context, const Shape& result) {
  const Block large{8, 8};
  const int64_t groups = GroupsM(large, result.rows) * GroupsN(large, result.cols);
  if (result.rows > 64 && result.cols > 64 &&
      (context.caps().IsSoftware() || groups >= kManyGroups)) {
    return large;
  }
  return {result.rows > 16 ? 4u : 1u, result.cols > 16 ? 4u : 1u};
}

// Products below are over before a difference could be measured.
constexpr double kWorthTrying = 1e8;

// An adapter's factors stay in f32, whatever is allowed for frozen weights.
bool MustBeExact(const KernelContext& context, const TensorView& weight) {
  return context.exact() || weight.desc.dtype != DType::kWeight;
}

// Whether a product may be computed in other ways than the plain one.
bool MayVary(KernelContext& context, const TensorView& weight, bool worth_trying) {
  return !MustBeExact(context, weight) && (worth_trying || context.tuner().wanted().has_value());
}

// The plain choice first, as the tuner wants it.
template <typename Product>
std::vector<Choice> TileChoices(KernelContext& context, const Product& product,
                                const Shape& result) {
  std::vector<Choice> choices = {{ProductWay::kPlain, GuessBlock(context, result)}};
  const Block guess = choices.front().block;
  // What a device with shaders of its own leaves to these is not worth the time.
  const bool worth_trying = !context.caps().lanes && WorkOf(product) >= kWorthTrying &&
                            result.rows > 64 && result.cols > 64;
  if (worth_trying) {
    for (const Block& other : {Block{4, 4}, Block{8, 8}, Block{4, 8}, Block{8, 4}}) {
      if (other != guess) choices.push_back({ProductWay::kPlain, other});
    }
  }
  if (!MayVary(context, product.weight, worth_trying)) return choices;
  const auto built = [&](ProductWay way) { return FindShader(ShaderOf(product, way)) != nullptr; };
  if (context.caps().fp16 && built(ProductWay::kHalf)) {
    for (const Block& block : {Block{8, 8}, Block{4, 4}}) {
      choices.push_back({ProductWay::kHalf, block});
    }
  }
  if (context.caps().matrix.m > 0 && built(ProductWay::kMatrix)) {
    choices.push_back({ProductWay::kMatrix, {1, 1}});
  }
  return choices;
}

// For a few tokens: what is below is over before a difference matters.
constexpr double kWorthTryingFew = 1e6;

std::vector<Choice> FewChoices(KernelContext& context, const NtProduct& product) {
  // Shaders for one token, or for as many as there may be.
  const Block tokens{product.x.desc.shape.rows == 1 ? 1u : kMaxMatvecTokens, 1};
  std::vector<Choice> choices = {{ProductWay::kPlain, tokens}};
  const bool worth_trying = WorkOf(product) >= kWorthTryingFew;
  if (MayVary(context, product.weight, worth_trying) && context.caps().int8_dot &&
      FindShader(ShaderOf(product, ProductWay::kDot)) != nullptr) {
    choices.push_back({ProductWay::kDot, tokens});
  }
  return choices;
}

}  // namespace

absl::StatusOr<RowTile> WholeMatrix(const KernelContext& context, const TensorView& matrix) {
  CHOIR_ASSIGN_OR_RETURN(const Range range, context.RangeOf(matrix));
  return RowTile{0, matrix.desc.shape.rows, range};
}

absl::Status EmitNt(KernelContext& context, const NtProduct& product) {
  if (FitsLanes(context, product)) return EmitLaneNt(context, product);
  const bool few = IsFew(product);
  const Shape result{product.x.desc.shape.rows, product.tile.rows};
  const std::vector<Choice> choices =
      few ? FewChoices(context, product) : TileChoices(context, product, result);
  NtTrials trials(context, product);
  const auto kind = ProductClass::Of(ShaderOf(product), MustBeExact(context, product.weight),
                                     result.rows, result.cols);
  return EmitBy(context, product, context.tuner().Fastest(kind, choices, trials));
}

absl::Status EmitNn(KernelContext& context, const NnProduct& product) {
  if (FitsLanes(context, product)) return EmitLaneNn(context, product);
  const Shape result = product.dx.desc.shape;
  const std::vector<Choice> choices = TileChoices(context, product, result);
  NnTrials trials(context, product);
  const auto kind = ProductClass::Of(ShaderOf(product), MustBeExact(context, product.weight),
                                     result.rows, result.cols);
  return EmitBy(context, product, context.tuner().Fastest(kind, choices, trials));
}

absl::Status EmitTn(KernelContext& context, const TensorView& a, const TensorView& b, float alpha,
                    const TensorView& out) {
  if (FitsLanes(context, a, b)) return EmitLaneTn(context, a, b, alpha, out);
  const Shape shape = out.desc.shape;
  const Block block = GuessBlock(context, shape);
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
      .Groups(GroupsN(block, shape.cols), GroupsM(block, shape.rows))
      .Work(2.0 * static_cast<double>(shape.NumElements()) * static_cast<double>(tokens))
      .Emit();
}

}  // namespace choir::engine::vulkan
