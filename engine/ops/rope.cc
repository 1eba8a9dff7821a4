#include <cmath>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "engine/graph/autodiff.h"
#include "engine/ops/call_check.h"
#include "engine/ops/example_cases.h"
#include "engine/ops/schemas.h"

namespace choir::engine {
namespace {

absl::StatusOr<std::vector<TensorDesc>> Infer(std::span<const TensorDesc> inputs,
                                              std::span<const TensorDesc> updates,
                                              const Attrs& attrs) {
  CallCheck check("rope", inputs, updates, attrs);
  const bool has_factors = inputs.size() > 2;
  check.Counts(has_factors ? 3 : 2, 0);
  const int64_t head_size = check.Int("head_size", 1, 1024);
  const int64_t n_rot = check.Int("n_rot", 2, head_size);
  check.Require(n_rot % 2 == 0, "n_rot must be even");
  check.Require(check.cols(0) % head_size == 0, "x must be whole heads of head_size columns");
  check.Float("base", 1, 1e12);
  check.Float("pos_scale", 0, 1e6);
  check.Int("halves", 0, 1);
  check.Int("inverse", 0, 1);
  check.IsF32(0, "x", kAnyExtent, kAnyExtent);
  check.IsI32(1, "positions", 1, check.rows(0));
  if (has_factors) check.IsF32Weight(2, "factors", 1, n_rot / 2);
  return check.Outputs({F32(check.rows(0), check.cols(0))});
}

// Su et al. 2021, eq. 34. Columns beyond n_rot of each head pass through.
void Reference(const RefCall& call) {
  const RefTensor& x = call.inputs[0];
  const int64_t head_size = call.attrs.Int("head_size");
  const int64_t n_rot = call.attrs.Int("n_rot");
  const bool halves = call.attrs.Int("halves") == 1;
  const double direction = call.attrs.Int("inverse") == 1 ? -1 : 1;
  call.outputs[0].values = x.values;
  for (int64_t t = 0; t < x.shape.rows; ++t) {
    const double position =
        call.inputs[1].ints[static_cast<size_t>(t)] * call.attrs.Float("pos_scale");
    for (int64_t i = 0; i < n_rot / 2; ++i) {
      const double exponent = -2.0 * static_cast<double>(i) / static_cast<double>(n_rot);
      const double factor = call.inputs.size() > 2 ? call.inputs[2].at(0, i) : 1;
      const double angle = position * std::pow(call.attrs.Float("base"), exponent) / factor;
      const double cosine = std::cos(angle);
      const double sine = direction * std::sin(angle);
      for (int64_t head = 0; head < x.shape.cols; head += head_size) {
        const int64_t a = head + (halves ? i : 2 * i);
        const int64_t b = head + (halves ? i + n_rot / 2 : 2 * i + 1);
        call.outputs[0].at(t, a) = x.at(t, a) * cosine - x.at(t, b) * sine;
        call.outputs[0].at(t, b) = x.at(t, a) * sine + x.at(t, b) * cosine;
      }
    }
  }
}

// A rotation's transpose is the rotation back.
absl::Status Gradient(GradientContext& context) {
  const std::optional<TensorId> dy = context.OutputGradient(0);
  if (!dy.has_value() || !context.Wants(0)) return absl::OkStatus();
  std::vector<TensorId> inputs = {*dy, context.Input(1)};
  if (context.node().inputs.size() > 2) inputs.push_back(context.Input(2));
  const Attrs& attrs = context.node().attrs;
  const double inverse = attrs.Int("inverse") == 1 ? 0 : 1;
  CHOIR_ASSIGN_OR_RETURN(
      const std::vector<TensorId> outputs,
      context.AddNode("rope", std::move(inputs), attrs.With("inverse", inverse)));
  return context.AddInputGradient(0, outputs[0]);
}

// Dividers lie above 1 (they stretch long wavelengths).
void Adjust(std::span<RefTensor> inputs, std::span<RefTensor> /*updates*/, const Attrs& /*attrs*/) {
  if (inputs.size() < 3) return;
  for (double& factor : inputs[2].values) factor = 1 + std::abs(factor);
}

struct RopeShape {
  int64_t heads;
  int64_t head_size;
  int64_t n_rot;
  double pos_scale;
  bool factors;
};

std::vector<OpExample> Examples() {
  std::vector<OpExample> examples;
  for (const double halves : {0, 1}) {
    for (const double inverse : {0, 1}) {
      for (const RopeShape& shape :
           {RopeShape{1, 2, 2, 1, false}, RopeShape{3, 8, 8, 1, false},
            RopeShape{2, 10, 6, 1, false}, RopeShape{2, 64, 64, 0.125, false},
            RopeShape{3, 6, 6, 1, true}}) {
        OpExample example = {
            .name = fmt::format("h{}x{}_rot{}_halves{}_inverse{}{}", shape.heads, shape.head_size,
                                shape.n_rot, halves, inverse, shape.factors ? "_factors" : ""),
            .inputs = {F32(7, shape.heads * shape.head_size), I32(1, 7)},
            .updates = {},
            .attrs = {{"head_size", static_cast<double>(shape.head_size)},
                      {"n_rot", static_cast<double>(shape.n_rot)},
                      {"base", 10000},
                      {"pos_scale", shape.pos_scale},
                      {"halves", halves},
                      {"inverse", inverse}},
            .ints = {{0, 1, 2, 3, 0, 1, 500}},
            .adjust = Adjust};
        if (shape.factors) example.inputs.push_back(Weight(&kF32Format, 1, shape.n_rot / 2));
        examples.push_back(std::move(example));
      }
    }
  }
  return examples;
}

}  // namespace

const OpSchema kRopeSchema = {.name = "rope",
                              .infer = Infer,
                              .reference = Reference,
                              .gradient = Gradient,
                              .examples = Examples,
                              .cheap_to_repeat = true};

}  // namespace choir::engine
