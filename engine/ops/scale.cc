#include "base/status_macros.h"
#include "engine/graph/autodiff.h"
#include "engine/ops/call_check.h"
#include "engine/ops/schemas.h"

namespace choir::engine {
namespace {

absl::StatusOr<std::vector<TensorDesc>> Infer(std::span<const TensorDesc> inputs,
                                              std::span<const TensorDesc> updates,
                                              const Attrs& attrs) {
  CallCheck check("scale", inputs, updates, attrs);
  check.Counts(1, 0);
  check.IsF32(0, "x", kAnyExtent, kAnyExtent);
  check.Float("factor", -1e6, 1e6);
  return check.Outputs({F32(check.rows(0), check.cols(0))});
}

void Reference(const RefCall& call) {
  const double factor = call.attrs.Float("factor");
  for (size_t i = 0; i < call.outputs[0].values.size(); ++i) {
    call.outputs[0].values[i] = factor * call.inputs[0].values[i];
  }
}

absl::Status Gradient(GradientContext& context) {
  const std::optional<TensorId> dy = context.OutputGradient(0);
  if (!dy.has_value() || !context.Wants(0)) return absl::OkStatus();
  CHOIR_ASSIGN_OR_RETURN(const std::vector<TensorId> outputs,
                         context.AddNode("scale", {*dy}, context.node().attrs));
  return context.AddInputGradient(0, outputs[0]);
}

std::vector<OpExample> Examples() {
  std::vector<OpExample> examples;
  for (const Shape shape : {Shape{1, 1}, Shape{3, 7}, Shape{17, 65}}) {
    const TensorDesc x = F32(shape.rows, shape.cols);
    examples.push_back({.name = ToString(x),
                        .inputs = {x},
                        .updates = {},
                        .attrs = {{"factor", -0.375}},
                        .ints = {}});
  }
  return examples;
}

}  // namespace

const OpSchema kScaleSchema = {.name = "scale",
                               .infer = Infer,
                               .reference = Reference,
                               .gradient = Gradient,
                               .examples = Examples,
                               .cheap_to_repeat = true};

}  // namespace choir::engine
