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
  CallCheck check("add_row", inputs, updates, attrs);
  check.Counts(2, 0);
  check.IsF32(0, "x", kAnyExtent, kAnyExtent);
  check.IsF32Weight(1, "row", 1, check.cols(0));
  return check.Outputs({F32(check.rows(0), check.cols(0))});
}

void Reference(const RefCall& call) {
  const RefTensor& x = call.inputs[0];
  for (int64_t t = 0; t < x.shape.rows; ++t) {
    for (int64_t c = 0; c < x.shape.cols; ++c) {
      call.outputs[0].at(t, c) = x.at(t, c) + call.inputs[1].at(0, c);
    }
  }
}

absl::Status Gradient(GradientContext& context) {
  const std::optional<TensorId> dy = context.OutputGradient(0);
  if (!dy.has_value() || !context.Wants(0)) return absl::OkStatus();
  return context.AddInputGradient(0, *dy);
}

std::vector<OpExample> Examples() {
  std::vector<OpExample> examples;
  for (const Shape shape : {Shape{1, 1}, Shape{3, 7}, Shape{17, 65}}) {
    const TensorDesc x = F32(shape.rows, shape.cols);
    examples.push_back({.name = ToString(x),
                        .inputs = {x, Weight(&kF32Format, 1, shape.cols)},
                        .updates = {},
                        .attrs = {},
                        .ints = {}});
  }
  return examples;
}

}  // namespace

const OpSchema kAddRowSchema = {.name = "add_row",
                                .infer = Infer,
                                .reference = Reference,
                                .gradient = Gradient,
                                .examples = Examples,
                                .cheap_to_repeat = true};

}  // namespace choir::engine
