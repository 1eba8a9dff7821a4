#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "engine/ops/call_check.h"
#include "engine/ops/dropout_mask.h"
#include "engine/ops/example_cases.h"
#include "engine/ops/schemas.h"

namespace choir::engine {
namespace {

// A target lies in [0, V) wherever its weight is not zero: the caller's duty.
absl::StatusOr<std::vector<TensorDesc>> Infer(std::span<const TensorDesc> inputs,
                                              std::span<const TensorDesc> updates,
                                              const Attrs& attrs) {
  CallCheck check("lm_head_loss", inputs, updates, attrs);
  const bool with_grad = check.Int("with_grad", 0, 1) == 1;
  const bool lora = attrs.Has("lora") && check.Int("lora", 0, 1) == 1;
  // The gradient of B belongs to the trained ones only.
  const size_t num_updates = with_grad && lora && !updates.empty() ? 1 : 0;
  check.Counts(5 + (lora ? 2 : 0) + (HasDropout(attrs) ? 1 : 0), num_updates);
  check.Require(lora || !HasDropout(attrs), "only a LoRA bypass has dropout");
  const int64_t tokens = check.rows(0);
  const int64_t channels = check.cols(0);
  check.IsF32(0, "h", kAnyExtent, kAnyExtent);
  check.IsWeight(1, "W", kAnyExtent, channels);
  check.IsI32(2, "targets", 1, tokens);
  check.IsF32(3, "weights", 1, tokens);
  check.IsF32(4, "scale", 1, 1);
  check.Float("softcap", 0, 1e6);
  std::vector<TensorDesc> outputs = {F32(1, tokens)};
  if (with_grad) outputs.push_back(F32(tokens, channels));
  if (!lora) return check.Outputs(std::move(outputs));
  const int64_t rank = check.rows(5);
  check.IsF32(5, "A", kAnyExtent, channels);
  check.IsF32(6, "B", check.rows(1), rank);
  check.Float("lora_scale", -1e6, 1e6);
  CheckDropout(attrs, 7, check);
  if (num_updates == 1) check.UpdateIsF32(0, "dB", check.rows(1), rank);
  if (with_grad) outputs.push_back(F32(tokens, rank));
  return check.Outputs(std::move(outputs));
}

bool HasLora(const RefCall& call) {
  return call.attrs.IntOr("lora", 0) == 1;
}

// u = drop(h) A^T, times lora_scale; nothing without LoRA.
RefTensor ScaledU(const RefCall& call) {
  if (!HasLora(call)) return {};
  RefTensor h = call.inputs[0];
  if (HasDropout(call.attrs)) {
    h = DropoutMask::Of(call.attrs).With(call.inputs[7].ints.data()).Apply(h);
  }
  const RefTensor& a = call.inputs[5];
  RefTensor u = {{h.shape.rows, a.shape.rows}, {}, {}};
  u.values.resize(static_cast<size_t>(u.shape.NumElements()));
  for (int64_t t = 0; t < h.shape.rows; ++t) {
    for (int64_t r = 0; r < a.shape.rows; ++r) {
      double sum = 0;
      for (int64_t c = 0; c < a.shape.cols; ++c) sum += h.at(t, c) * a.at(r, c);
      u.at(t, r) = call.attrs.Float("lora_scale") * sum;
    }
  }
  return u;
}

// The logits of row t, capped.
std::vector<double> Logits(const RefCall& call, const RefTensor& u, int64_t t, double softcap) {
  const RefTensor& h = call.inputs[0];
  const RefTensor& w = call.inputs[1];
  std::vector<double> logits(static_cast<size_t>(w.shape.rows));
  for (int64_t n = 0; n < w.shape.rows; ++n) {
    double sum = 0;
    for (int64_t c = 0; c < h.shape.cols; ++c) sum += h.at(t, c) * w.at(n, c);
    for (int64_t r = 0; r < u.shape.cols && HasLora(call); ++r) {
      sum += u.at(t, r) * call.inputs[6].at(n, r);
    }
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

// What one logit's gradient adds to v and dB.
void AddBypassGradient(const RefCall& call, const RefTensor& u, int64_t t, int64_t n,
                       double d_logit) {
  const RefTensor& b = call.inputs[6];
  for (int64_t r = 0; r < b.shape.cols; ++r) {
    call.outputs[2].at(t, r) += call.attrs.Float("lora_scale") * d_logit * b.at(n, r);
    if (!call.updates.empty()) call.updates[0].at(n, r) += d_logit * u.at(t, r);
  }
}

// dh += drop(v A).
void AddDroppedBypass(const RefCall& call) {
  const RefTensor& v = call.outputs[2];
  const RefTensor& a = call.inputs[5];
  RefTensor bypass = {call.outputs[1].shape, {}, {}};
  bypass.values.resize(call.outputs[1].values.size());
  for (int64_t t = 0; t < v.shape.rows; ++t) {
    for (int64_t r = 0; r < v.shape.cols; ++r) {
      for (int64_t c = 0; c < a.shape.cols; ++c) bypass.at(t, c) += v.at(t, r) * a.at(r, c);
    }
  }
  if (HasDropout(call.attrs)) {
    bypass = DropoutMask::Of(call.attrs).With(call.inputs[7].ints.data()).Apply(bypass);
  }
  for (size_t i = 0; i < bypass.values.size(); ++i) call.outputs[1].values[i] += bypass.values[i];
}

void AddGradientRow(const RefCall& call, const RefTensor& u, int64_t t,
                    const std::vector<double>& logits, double lse, double softcap) {
  const RefTensor& w = call.inputs[1];
  const double factor = call.inputs[4].at(0, 0) * call.inputs[3].at(0, t);
  const int32_t target = call.inputs[2].ints[static_cast<size_t>(t)];
  for (int64_t n = 0; n < w.shape.rows; ++n) {
    const double logit = logits[static_cast<size_t>(n)];
    const double slope = softcap == 0 ? 1 : 1 - (logit / softcap) * (logit / softcap);
    const double d_logit = factor * slope * (std::exp(logit - lse) - (n == target ? 1 : 0));
    for (int64_t c = 0; c < w.shape.cols; ++c) call.outputs[1].at(t, c) += d_logit * w.at(n, c);
    if (HasLora(call)) AddBypassGradient(call, u, t, n, d_logit);
  }
}

void Reference(const RefCall& call) {
  const double softcap = call.attrs.Float("softcap");
  const bool with_grad = call.attrs.Int("with_grad") == 1;
  const RefTensor u = ScaledU(call);
  for (int64_t t = 0; t < call.inputs[0].shape.rows; ++t) {
    if (call.inputs[3].at(0, t) == 0) continue;
    const std::vector<double> logits = Logits(call, u, t, softcap);
    const double lse = LogSumExp(logits);
    const int32_t target = call.inputs[2].ints[static_cast<size_t>(t)];
    call.outputs[0].at(0, t) = lse - logits[static_cast<size_t>(target)];
    if (with_grad) AddGradientRow(call, u, t, logits, lse, softcap);
  }
  if (with_grad && HasLora(call)) AddDroppedBypass(call);
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
  int64_t rank = 0;  // 0: no LoRA
  double dropout = 0;
};

OpExample Make(const HeadShape& shape, const FormatRow& row) {
  OpExample example = {
      .name = fmt::format("{}_{}x{}x{}_cap{}_grad{}", row.format->name, shape.tokens, row.cols,
                          shape.vocabulary, shape.softcap, shape.with_grad),
      .inputs = {F32(shape.tokens, row.cols), Weight(row.format, shape.vocabulary, row.cols),
                 I32(1, shape.tokens), F32(1, shape.tokens), F32(1, 1)},
      .updates = {},
      .attrs = {{"with_grad", shape.with_grad ? 1 : 0}, {"softcap", shape.softcap}},
      .ints = {ScatteredRow(shape.tokens, shape.vocabulary)},
      .adjust = Adjust};
  if (shape.rank == 0) return example;
  example.name += fmt::format("_r{}_drop{}", shape.rank, shape.dropout);
  example.inputs.push_back(F32(shape.rank, row.cols));
  example.inputs.push_back(F32(shape.vocabulary, shape.rank));
  example.attrs = example.attrs.With("lora", 1).With("lora_scale", 0.5);
  if (shape.with_grad) example.updates = {F32(shape.vocabulary, shape.rank)};
  if (shape.dropout == 0) return example;
  example.inputs.push_back(I32(1, kDropoutKeyWords));
  example.ints.push_back({5, 6, 7});
  example.attrs = example.attrs.With("dropout", shape.dropout).With("dropout_site", 9);
  return example;
}

std::vector<OpExample> Examples() {
  std::vector<OpExample> examples;
  for (const HeadShape& shape : {HeadShape{1, 1, 1, 0, true}, HeadShape{5, 7, 3, 0, true},
                                 HeadShape{9, 40, 130, 0, false}, HeadShape{17, 65, 77, 0, true},
                                 HeadShape{4, 33, 20, 2, true}, HeadShape{3, 64, 1025, 0, true}}) {
    for (const FormatRow& row : FormatRows(shape.channels)) examples.push_back(Make(shape, row));
  }
  // One chunk of the vocabulary, several, a last one of few rows; one token; without gradient.
  for (const HeadShape& shape :
       {HeadShape{1, 3, 2, 0, true, 1}, HeadShape{9, 40, 130, 0, false, 4},
        HeadShape{5, 33, 4099, 0, true, 3}, HeadShape{70, 17, 77, 2, true, 5},
        HeadShape{7, 34, 40, 0, true, 2, 0.5}, HeadShape{6, 20, 30, 0, false, 2, 0.25}}) {
    examples.push_back(Make(shape, {&kF32Format, shape.channels}));
  }
  return examples;
}

}  // namespace

// The loss is where gradients begin: the op gives its own (dh, v, dB).
const OpSchema kLmHeadLossSchema = {"lm_head_loss", Infer, Reference, nullptr, Examples};

}  // namespace choir::engine
