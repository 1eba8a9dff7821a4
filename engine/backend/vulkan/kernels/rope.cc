#include <cmath>
#include <numbers>

#include "base/status_macros.h"
#include "engine/backend/vulkan/kernel.h"

namespace choir::engine::vulkan {
namespace {

// Full turns a position, pair by pair, each as the sum of two floats (see rope.comp).
std::vector<float> TurnsPerPosition(int64_t n_rot, double base, double pos_scale) {
  std::vector<float> turns;
  for (int64_t i = 0; i < n_rot / 2; ++i) {
    const double exponent = -2.0 * static_cast<double>(i) / static_cast<double>(n_rot);
    const double exact = pos_scale * std::pow(base, exponent) / (2 * std::numbers::pi);
    const auto high = static_cast<float>(exact);
    turns.push_back(high);
    turns.push_back(static_cast<float>(exact - static_cast<double>(high)));
  }
  return turns;
}

absl::Status Record(KernelContext& context) {
  const Attrs& attrs = context.attrs();
  const Shape x = context.Input(0).desc.shape;
  const int64_t head_size = attrs.Int("head_size");
  const int64_t n_rot = attrs.Int("n_rot");
  const bool has_factors = context.num_inputs() == 3;
  CHOIR_ASSIGN_OR_RETURN(
      const TensorView turns,
      context.Constant(TurnsPerPosition(n_rot, attrs.Float("base"), attrs.Float("pos_scale"))));
  const int64_t heads = x.cols / head_size;
  const int64_t count = x.rows * heads * (head_size - n_rot / 2);
  DispatchBuilder dispatch = context.Shader(
      has_factors ? KernelContext::Variant("rope", context.Input(2)) : std::string("rope.f32"));
  dispatch.Read(context.Input(0)).Read(context.Input(1)).Read(turns);
  if (has_factors) {
    CHOIR_ASSIGN_OR_RETURN(const std::vector<RowTile> tiles, context.Tiles(context.Input(2), 0));
    dispatch.Weight(tiles.front().range);
  } else {
    dispatch.Unused();
  }
  return dispatch.Write(context.Output(0))
      .Push(count)
      .Push(heads)
      .Push(head_size)
      .Push(n_rot)
      .Push(attrs.Int("halves"))
      .Push(static_cast<uint32_t>(has_factors))
      .Push(attrs.Int("inverse") == 1 ? -1.0f : 1.0f)
      .FlatGroups(count)
      .Work(32.0 * static_cast<double>(count))
      .Emit();
}

}  // namespace

const VulkanKernel kRopeVulkanKernel = {Record};

}  // namespace choir::engine::vulkan
