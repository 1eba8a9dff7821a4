#include <fmt/format.h>

#include "base/status_macros.h"
#include "engine/graph/autodiff.h"
#include "engine/ops/activation.h"
#include "engine/ops/call_check.h"
#include "engine/ops/schemas.h"

namespace choir::engine {
namespace {

absl::StatusOr<std::vector<TensorDesc>> Infer(std::span<const TensorDesc> inputs,
                                              std::span<const TensorDesc> updates,
                                              const Attrs& attrs) {
  CallCheck check("glu", inputs, updates, attrs);
  check.Counts(2, 0);
  check.IsF32(0, "gate", kAnyExtent, kAnyExtent);
  check.IsF32(1, "up", check.rows(0), check.cols(0));
  check.Int("act", 0, kNumActivations - 1);
  return check.Outputs({F32(check.rows(0), check.cols(0))});
}

// Shazeer 2020.
void Reference(const RefCall& call) {
  const auto activation = static_cast<Activation>(call.attrs.Int("act"));
  for (size_t i = 0; i < call.outputs[0].values.size(); ++i) {
    call.outputs[0].values[i] =
        ActivationAt(activation, call.inputs[0].values[i]).value * call.inputs[1].values[i];
  }
}

absl::Status Gradient(GradientContext& context) {
  const std::optional<TensorId> dy = context.OutputGradient(0);
  if (!dy.has_value()) return absl::OkStatus();
  CHOIR_ASSIGN_OR_RETURN(const std::vector<TensorId> gradients,
                         context.AddNode("glu_backward", {*dy, context.Input(0), context.Input(1)},
                                         context.node().attrs));
  for (size_t input = 0; input < 2; ++input) {
    if (!context.Wants(input)) continue;
    CHOIR_RETURN_IF_ERROR(context.AddInputGradient(input, gradients[input]));
  }
  return absl::OkStatus();
}

std::vector<OpExample> Examples() {
  std::vector<OpExample> examples;
  for (int64_t act = 0; act < kNumActivations; ++act) {
    for (const Shape shape : {Shape{1, 1}, Shape{3, 7}, Shape{9, 65}}) {
      const TensorDesc desc = F32(shape.rows, shape.cols);
      examples.push_back({.name = fmt::format("act{}_{}x{}", act, shape.rows, shape.cols),
                          .inputs = {desc, desc},
                          .updates = {},
                          .attrs = {{"act", static_cast<double>(act)}},
                          .ints = {}});
    }
  }
  return examples;
}

}  // namespace

const OpSchema kGluSchema = {.name = "glu",
                             .infer = Infer,
                             .reference = Reference,
                             .gradient = Gradient,
                             .examples = Examples,
                             .cheap_to_repeat = true,
                             .coarse_inputs = true};

}  // namespace choir::engine
