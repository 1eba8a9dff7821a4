#include "engine/ops/activation.h"

#include <cmath>
#include <numbers>

#include "base/check.h"

namespace choir::engine {
namespace {

ActivationPoint Silu(double x) {
  const double sigmoid = 1 / (1 + std::exp(-x));
  return {x * sigmoid, sigmoid * (1 + x * (1 - sigmoid))};
}

ActivationPoint GeluTanh(double x) {
  const double c = std::sqrt(2 / std::numbers::pi);
  const double t = std::tanh(c * (x + 0.044715 * x * x * x));
  const double inner_slope = c * (1 + 3 * 0.044715 * x * x);
  return {0.5 * x * (1 + t), 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * inner_slope};
}

ActivationPoint ReluSquared(double x) {
  return x > 0 ? ActivationPoint{x * x, 2 * x} : ActivationPoint{0, 0};
}

}  // namespace

ActivationPoint ActivationAt(Activation activation, double x) {
  switch (activation) {
    case Activation::kSilu:
      return Silu(x);
    case Activation::kGeluTanh:
      return GeluTanh(x);
    case Activation::kReluSquared:
      return ReluSquared(x);
  }
  CHOIR_CHECK(false && "an activation outside its enum");
}

}  // namespace choir::engine
