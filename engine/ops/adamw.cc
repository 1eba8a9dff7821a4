#include <cmath>

#include "engine/ops/call_check.h"
#include "engine/ops/schemas.h"

namespace choir::engine {
namespace {

absl::StatusOr<std::vector<TensorDesc>> Infer(std::span<const TensorDesc> inputs,
                                              std::span<const TensorDesc> updates,
                                              const Attrs& attrs) {
  CallCheck check("adamw", inputs, updates, attrs);
  check.Counts(1, 4);
  const int64_t count = check.update_shape(0).cols;
  check.IsF32(0, "hyper", 1, 8);
  check.UpdateIsF32(0, "param", 1, count);
  check.UpdateIsF32(1, "grad", 1, count);
  check.UpdateIsF32(2, "m", 1, count);
  check.UpdateIsF32(3, "v", 1, count);
  return check.Outputs({});
}

// Loshchilov and Hutter 2019, algorithm 2, in PyTorch's order of operations.
void Reference(const RefCall& call) {
  const std::vector<double>& hyper = call.inputs[0].values;
  const double lr = hyper[0];
  const double beta1 = hyper[1];
  const double beta2 = hyper[2];
  const double eps = hyper[3];
  const double weight_decay = hyper[4];
  const double correction1 = hyper[5];
  const double correction2 = hyper[6];
  const double grad_scale = hyper[7];
  for (size_t i = 0; i < call.updates[0].values.size(); ++i) {
    double& param = call.updates[0].values[i];
    double& grad = call.updates[1].values[i];
    double& m = call.updates[2].values[i];
    double& v = call.updates[3].values[i];
    const double g = grad * grad_scale;
    param -= lr * weight_decay * param;
    m = beta1 * m + (1 - beta1) * g;
    v = beta2 * v + (1 - beta2) * g * g;
    param -= lr * (m / correction1) / (std::sqrt(v / correction2) + eps);
    grad = 0;
  }
}

// Second moments are never negative; the hyper-parameters are those of a fifth step, clipped.
void Adjust(std::span<RefTensor> inputs, std::span<RefTensor> updates, const Attrs& /*attrs*/) {
  inputs[0].values = {1e-3, 0.9, 0.999, 1e-8, 0.01, 1 - std::pow(0.9, 5), 1 - std::pow(0.999, 5),
                      0.5};
  for (double& v : updates[3].values) v *= v;
}

std::vector<OpExample> Examples() {
  std::vector<OpExample> examples;
  for (const int64_t count : {1, 7, 64, 1000}) {
    const TensorDesc flat = F32(1, count);
    examples.push_back({.name = "n" + std::to_string(count),
                        .inputs = {F32(1, 8)},
                        .updates = {flat, flat, flat, flat},
                        .attrs = {},
                        .ints = {},
                        .adjust = Adjust});
  }
  return examples;
}

}  // namespace

const OpSchema kAdamWSchema = {"adamw", Infer, Reference, nullptr, Examples};

}  // namespace choir::engine
