#include <fmt/format.h>

#include "engine/ops/call_check.h"
#include "engine/ops/schemas.h"

namespace choir::engine {
namespace {

absl::StatusOr<std::vector<TensorDesc>> Infer(std::span<const TensorDesc> inputs,
                                              std::span<const TensorDesc> updates,
                                              const Attrs& attrs) {
  CallCheck check("grad_norm", inputs, updates, attrs);
  check.Counts(1, 1);
  check.IsF32(0, "grad", 1, kAnyExtent);
  check.UpdateIsF32(0, "sum", 1, 1);
  return check.Outputs({});
}

void Reference(const RefCall& call) {
  for (const double g : call.inputs[0].values) call.updates[0].values[0] += g * g;
}

std::vector<OpExample> Examples() {
  std::vector<OpExample> examples;
  for (const int64_t count : {1, 7, 64, 5000}) {
    examples.push_back({.name = fmt::format("n{}", count),
                        .inputs = {F32(1, count)},
                        .updates = {F32(1, 1)},
                        .attrs = {},
                        .ints = {}});
  }
  return examples;
}

}  // namespace

const OpSchema kGradNormSchema = {"grad_norm", Infer, Reference, nullptr, Examples};

}  // namespace choir::engine
