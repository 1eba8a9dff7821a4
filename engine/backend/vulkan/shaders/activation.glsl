// Activations of glu by the op's number: 0 SiLU, 1 GELU-tanh, 2 ReLU squared. Arguments of exp and
// tanh are clamped where the result no longer changes: some GPUs overflow there.
const float kGeluA = 0.7978845608028654;  // sqrt(2/pi)
const float kGeluB = 0.044715;

float Sigmoid(float x) { return 1.0 / (1.0 + exp(-clamp(x, -80.0, 80.0))); }
float SafeTanh(float x) { return tanh(clamp(x, -15.0, 15.0)); }

float Activate(uint act, float x) {
  if (act == 0u) return x * Sigmoid(x);
  if (act == 1u) return 0.5 * x * (1.0 + SafeTanh(kGeluA * (x + kGeluB * x * x * x)));
  const float r = max(x, 0.0);
  return r * r;
}

float ActivationSlope(uint act, float x) {
  if (act == 0u) {
    const float s = Sigmoid(x);
    return s * (1.0 + x * (1.0 - s));
  }
  if (act == 1u) {
    const float t = SafeTanh(kGeluA * (x + kGeluB * x * x * x));
    const float inner = kGeluA * (1.0 + 3.0 * kGeluB * x * x);
    return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * inner;
  }
  return 2.0 * max(x, 0.0);
}
