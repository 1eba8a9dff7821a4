#include <cmath>

#include <fmt/format.h>

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

// Second moments are never negative. Hyper-parameters of a fifth, clipped step, so large that each
// term of the update is seen beside the parameter itself.
void Adjust(std::span<RefTensor> inputs, std::span<RefTensor> updates, const Attrs& /*attrs*/) {
  const double lr = 0.1;
  const double beta1 = 0.9;
  const double beta2 = 0.99;
  const double eps = 0.05;
  const double weight_decay = 0.2;
  const double grad_scale = 0.5;
  inputs[0].values = {
      lr,        beta1, beta2, eps, weight_decay, 1 - std::pow(beta1, 5), 1 - std::pow(beta2, 5),
      grad_scale};
  for (double& v : updates[3].values) v *= v;
}

std::vector<OpExample> Examples() {
  std::vector<OpExample> examples;
  for (const int64_t count : {1, 7, 64, 1000}) {
    const TensorDesc flat = F32(1, count);
    examples.push_back({.name = fmt::format("n{}", count),
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
