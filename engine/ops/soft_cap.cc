#include <cmath>

#include "engine/ops/call_check.h"
#include "engine/ops/schemas.h"

namespace choir::engine {
namespace {

absl::StatusOr<std::vector<TensorDesc>> Infer(std::span<const TensorDesc> inputs,
                                              std::span<const TensorDesc> updates,
                                              const Attrs& attrs) {
  CallCheck check("soft_cap", inputs, updates, attrs);
  check.Counts(1, 0);
  check.IsF32(0, "x", kAnyExtent, kAnyExtent);
  check.Float("cap", 1e-3, 1e6);
  return check.Outputs({F32(check.rows(0), check.cols(0))});
}

// Gemma Team 2024, section 2: logits stay within (-cap, cap).
void Reference(const RefCall& call) {
  const double cap = call.attrs.Float("cap");
  for (size_t i = 0; i < call.outputs[0].values.size(); ++i) {
    call.outputs[0].values[i] = cap * std::tanh(call.inputs[0].values[i] / cap);
  }
}

std::vector<OpExample> Examples() {
  std::vector<OpExample> examples;
  for (const Shape shape : {Shape{1, 1}, Shape{3, 7}, Shape{17, 65}}) {
    const TensorDesc x = F32(shape.rows, shape.cols);
    examples.push_back(
        {.name = ToString(x), .inputs = {x}, .updates = {}, .attrs = {{"cap", 0.5}}, .ints = {}});
  }
  return examples;
}

}  // namespace

const OpSchema kSoftCapSchema = {"soft_cap", Infer, Reference, nullptr, Examples};

}  // namespace choir::engine
