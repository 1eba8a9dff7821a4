#include <fmt/format.h>

#include "engine/ops/activation.h"
#include "engine/ops/call_check.h"
#include "engine/ops/schemas.h"

namespace choir::engine {
namespace {

absl::StatusOr<std::vector<TensorDesc>> Infer(std::span<const TensorDesc> inputs,
                                              std::span<const TensorDesc> updates,
                                              const Attrs& attrs) {
  CallCheck check("glu_backward", inputs, updates, attrs);
  check.Counts(3, 0);
  const TensorDesc desc = F32(check.rows(0), check.cols(0));
  check.IsF32(0, "dy", kAnyExtent, kAnyExtent);
  check.IsF32(1, "gate", desc.shape.rows, desc.shape.cols);
  check.IsF32(2, "up", desc.shape.rows, desc.shape.cols);
  check.Int("act", 0, kNumActivations - 1);
  return check.Outputs({desc, desc});
}

void Reference(const RefCall& call) {
  const auto activation = static_cast<Activation>(call.attrs.Int("act"));
  for (size_t i = 0; i < call.outputs[0].values.size(); ++i) {
    const double dy = call.inputs[0].values[i];
    const ActivationPoint point = ActivationAt(activation, call.inputs[1].values[i]);
    call.outputs[0].values[i] = dy * call.inputs[2].values[i] * point.slope;
    call.outputs[1].values[i] = dy * point.value;
  }
}

std::vector<OpExample> Examples() {
  std::vector<OpExample> examples;
  for (int64_t act = 0; act < kNumActivations; ++act) {
    for (const Shape shape : {Shape{1, 1}, Shape{3, 7}, Shape{9, 65}}) {
      const TensorDesc desc = F32(shape.rows, shape.cols);
      examples.push_back({.name = fmt::format("act{}_{}x{}", act, shape.rows, shape.cols),
                          .inputs = {desc, desc, desc},
                          .updates = {},
                          .attrs = {{"act", static_cast<double>(act)}},
                          .ints = {}});
    }
  }
  return examples;
}

}  // namespace

const OpSchema kGluBackwardSchema = {"glu_backward", Infer, Reference, nullptr, Examples};

}  // namespace choir::engine
