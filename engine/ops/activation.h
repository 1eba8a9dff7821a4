#ifndef CHOIR_ENGINE_OPS_ACTIVATION_H_
#define CHOIR_ENGINE_OPS_ACTIVATION_H_

// The activations of gated feed-forward layers: attribute `act` of glu and glu_backward.

#include <cstdint>

namespace choir::engine {

enum class Activation : uint8_t {
  kSilu = 0,      // x * sigmoid(x): llama, qwen
  kGeluTanh = 1,  // 0.5x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))): gemma (Hendrycks, Gimpel 2016)
  kReluSquared = 2,  // max(x, 0)^2: BitNet b1.58 2B4T (So et al. 2021)
};
inline constexpr int64_t kNumActivations = 3;

// Reference, in double precision: the value and its derivative.
struct ActivationPoint {
  double value;
  double slope;
};
ActivationPoint ActivationAt(Activation activation, double x);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_OPS_ACTIVATION_H_
