#include "base/status_macros.h"
#include "engine/graph/autodiff.h"
#include "engine/ops/call_check.h"
#include "engine/ops/schemas.h"

namespace choir::engine {
namespace {

absl::StatusOr<std::vector<TensorDesc>> Infer(std::span<const TensorDesc> inputs,
                                              std::span<const TensorDesc> updates,
                                              const Attrs& attrs) {
  CallCheck check("add", inputs, updates, attrs);
  check.Counts(2, 0);
  check.IsF32(0, "a", kAnyExtent, kAnyExtent);
  check.IsF32(1, "b", check.rows(0), check.cols(0));
  return check.Outputs({F32(check.rows(0), check.cols(0))});
}

void Reference(const RefCall& call) {
  for (size_t i = 0; i < call.outputs[0].values.size(); ++i) {
    call.outputs[0].values[i] = call.inputs[0].values[i] + call.inputs[1].values[i];
  }
}

absl::Status Gradient(GradientContext& context) {
  const std::optional<TensorId> dy = context.OutputGradient(0);
  if (!dy.has_value()) return absl::OkStatus();
  for (const size_t input : {0u, 1u}) {
    if (!context.Wants(input)) continue;
    CHOIR_RETURN_IF_ERROR(context.AddInputGradient(input, *dy));
  }
  return absl::OkStatus();
}

std::vector<OpExample> Examples() {
  std::vector<OpExample> examples;
  for (const Shape shape : {Shape{1, 1}, Shape{3, 7}, Shape{17, 65}}) {
    const TensorDesc desc = F32(shape.rows, shape.cols);
    examples.push_back(
        {.name = ToString(desc), .inputs = {desc, desc}, .updates = {}, .attrs = {}, .ints = {}});
  }
  return examples;
}

}  // namespace

const OpSchema kAddSchema = {.name = "add",
                             .infer = Infer,
                             .reference = Reference,
                             .gradient = Gradient,
                             .examples = Examples,
                             .cheap_to_repeat = true,
                             .coarse_inputs = true};

}  // namespace choir::engine
