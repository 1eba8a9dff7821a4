#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "engine/ops/call_check.h"
#include "engine/ops/example_cases.h"
#include "engine/ops/schemas.h"

namespace choir::engine {
namespace {

// A target lies in [0, V) wherever its weight is not zero: the caller's duty.
absl::StatusOr<std::vector<TensorDesc>> Infer(std::span<const TensorDesc> inputs,
                                              std::span<const TensorDesc> updates,
                                              const Attrs& attrs) {
  CallCheck check("lm_head_loss", inputs, updates, attrs);
  check.Counts(5, 0);
  const int64_t tokens = check.rows(0);
  const int64_t channels = check.cols(0);
  check.IsF32(0, "h", kAnyExtent, kAnyExtent);
  check.IsWeight(1, "W", kAnyExtent, channels);
  check.IsI32(2, "targets", 1, tokens);
  check.IsF32(3, "weights", 1, tokens);
  check.IsF32(4, "scale", 1, 1);
  check.Float("softcap", 0, 1e6);
  std::vector<TensorDesc> outputs = {F32(1, tokens)};
  if (check.Int("with_grad", 0, 1) == 1) outputs.push_back(F32(tokens, channels));
  return check.Outputs(std::move(outputs));
}

// The logits of row t, capped.
std::vector<double> Logits(const RefCall& call, int64_t t, double softcap) {
  const RefTensor& h = call.inputs[0];
  const RefTensor& w = call.inputs[1];
  std::vector<double> logits(static_cast<size_t>(w.shape.rows));
  for (int64_t n = 0; n < w.shape.rows; ++n) {
    double sum = 0;
    for (int64_t c = 0; c < h.shape.cols; ++c) sum += h.at(t, c) * w.at(n, c);
    logits[static_cast<size_t>(n)] = softcap == 0 ? sum : softcap * std::tanh(sum / softcap);
  }
  return logits;
}

double LogSumExp(const std::vector<double>& values) {
  const double max = *std::max_element(values.begin(), values.end());
  double sum = 0;
  for (const double value : values) sum += std::exp(value - max);
  return max + std::log(sum);
}

void AddGradientRow(const RefCall& call, int64_t t, const std::vector<double>& logits, double lse,
                    double softcap) {
  const RefTensor& w = call.inputs[1];
  const double factor = call.inputs[4].at(0, 0) * call.inputs[3].at(0, t);
  const int32_t target = call.inputs[2].ints[static_cast<size_t>(t)];
  for (int64_t n = 0; n < w.shape.rows; ++n) {
    const double logit = logits[static_cast<size_t>(n)];
    const double slope = softcap == 0 ? 1 : 1 - (logit / softcap) * (logit / softcap);
    const double d_logit = factor * slope * (std::exp(logit - lse) - (n == target ? 1 : 0));
    for (int64_t c = 0; c < w.shape.cols; ++c) call.outputs[1].at(t, c) += d_logit * w.at(n, c);
  }
}

void Reference(const RefCall& call) {
  const double softcap = call.attrs.Float("softcap");
  const bool with_grad = call.attrs.Int("with_grad") == 1;
  for (int64_t t = 0; t < call.inputs[0].shape.rows; ++t) {
    if (call.inputs[3].at(0, t) == 0) continue;
    const std::vector<double> logits = Logits(call, t, softcap);
    const double lse = LogSumExp(logits);
    const int32_t target = call.inputs[2].ints[static_cast<size_t>(t)];
    call.outputs[0].at(0, t) = lse - logits[static_cast<size_t>(target)];
    if (with_grad) AddGradientRow(call, t, logits, lse, softcap);
  }
}

// Every third token is masked, and its target is one that must not be read.
void Adjust(std::span<RefTensor> inputs, std::span<RefTensor> /*updates*/, const Attrs& /*attrs*/) {
  inputs[4].values[0] = 0.25;
  for (size_t t = 0; t < inputs[3].values.size(); ++t) {
    const bool masked = t % 3 == 1;
    inputs[3].values[t] = masked ? 0 : 1 + 0.5 * static_cast<double>(t % 2);
    if (masked) inputs[2].ints[t] = -1;
  }
}

struct HeadShape {
  int64_t tokens;
  int64_t channels;
  int64_t vocabulary;
  double softcap;
  bool with_grad;
};

std::vector<OpExample> Examples() {
  std::vector<OpExample> examples;
  for (const HeadShape& shape : {HeadShape{1, 1, 1, 0, true}, HeadShape{5, 7, 3, 0, true},
                                 HeadShape{9, 40, 130, 0, false}, HeadShape{17, 65, 77, 0, true},
                                 HeadShape{4, 33, 20, 2, true}, HeadShape{3, 64, 1025, 0, true}}) {
    for (const FormatRow& row : FormatRows(shape.channels)) {
      examples.push_back(
          {.name = fmt::format("{}_{}x{}x{}_cap{}_grad{}", row.format->name, shape.tokens, row.cols,
                               shape.vocabulary, shape.softcap, shape.with_grad),
           .inputs = {F32(shape.tokens, row.cols), Weight(row.format, shape.vocabulary, row.cols),
                      I32(1, shape.tokens), F32(1, shape.tokens), F32(1, 1)},
           .updates = {},
           .attrs = {{"with_grad", shape.with_grad ? 1 : 0}, {"softcap", shape.softcap}},
           .ints = {ScatteredRow(shape.tokens, shape.vocabulary)},
           .adjust = Adjust});
    }
  }
  return examples;
}

}  // namespace

// The loss is where gradients begin: the op gives its own (dh).
const OpSchema kLmHeadLossSchema = {"lm_head_loss", Infer, Reference, nullptr, Examples};

}  // namespace choir::engine
