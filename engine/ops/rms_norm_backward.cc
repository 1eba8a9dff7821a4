#include <cmath>

#include <fmt/format.h>

#include "engine/ops/call_check.h"
#include "engine/ops/schemas.h"
#include "engine/quant/weight_format.h"

namespace choir::engine {
namespace {

absl::StatusOr<std::vector<TensorDesc>> Infer(std::span<const TensorDesc> inputs,
                                              std::span<const TensorDesc> updates,
                                              const Attrs& attrs) {
  CallCheck check("rms_norm_backward", inputs, updates, attrs);
  const bool accumulate = check.Int("accumulate", 0, 1) == 1;
  check.Counts(accumulate ? 5 : 4, 0);
  const int64_t tokens = check.rows(0);
  const int64_t channels = check.cols(0);
  const int64_t groups = check.Int("groups", 1, CallCheck::kMaxExtent);
  check.Require(channels % groups == 0, "the columns of x must divide into groups");
  check.IsF32(0, "dy", kAnyExtent, kAnyExtent);
  check.IsF32(1, "x", tokens, channels);
  check.IsF32Weight(2, "w", 1, channels / groups);
  check.IsF32(3, "rstd", tokens, groups);
  if (accumulate) check.IsF32(4, "acc", tokens, channels);
  return check.Outputs({F32(tokens, channels)});
}

// dx = rstd * (dy w - n mean(dy w n)) + acc, with n = x rstd.
void Reference(const RefCall& call) {
  const RefTensor& dy = call.inputs[0];
  const RefTensor& x = call.inputs[1];
  const RefTensor& w = call.inputs[2];
  const int64_t groups = call.attrs.Int("groups");
  const int64_t width = x.shape.cols / groups;
  const bool accumulate = call.attrs.Int("accumulate") == 1;
  for (int64_t t = 0; t < x.shape.rows; ++t) {
    for (int64_t g = 0; g < groups; ++g) {
      const double rstd = call.inputs[3].at(t, g);
      double sum = 0;
      for (int64_t c = 0; c < width; ++c) {
        sum += dy.at(t, g * width + c) * w.at(0, c) * x.at(t, g * width + c) * rstd;
      }
      const double mean = sum / static_cast<double>(width);
      for (int64_t c = 0; c < width; ++c) {
        const int64_t col = g * width + c;
        const double dx = rstd * (dy.at(t, col) * w.at(0, c) - x.at(t, col) * rstd * mean);
        call.outputs[0].at(t, col) = dx + (accumulate ? call.inputs[4].at(t, col) : 0);
      }
    }
  }
}

// rstd is that of x: a backend may rely on it.
void Adjust(std::span<RefTensor> inputs, std::span<RefTensor> /*updates*/, const Attrs& attrs) {
  const std::vector<RefTensor> forward = {inputs[1], inputs[2]};
  std::vector<RefTensor> outputs = {inputs[1], inputs[3]};
  kRmsNormSchema.reference({attrs.With("eps", 1e-5), forward, outputs, {}});
  inputs[3] = outputs[1];
}

struct NormShape {
  int64_t tokens;
  int64_t channels;
  int64_t groups;
};

std::vector<OpExample> Examples() {
  std::vector<OpExample> examples;
  for (const bool accumulate : {false, true}) {
    for (const NormShape shape :
         {NormShape{1, 1, 1}, NormShape{3, 7, 1}, NormShape{17, 65, 1}, NormShape{5, 40, 5},
          NormShape{2, 1030, 1}, NormShape{4, 12, 12}}) {
      const TensorDesc x = F32(shape.tokens, shape.channels);
      OpExample example = {.name = fmt::format("{}x{}_g{}{}", shape.tokens, shape.channels,
                                               shape.groups, accumulate ? "_acc" : ""),
                           .inputs = {x, x, Weight(&kF32Format, 1, shape.channels / shape.groups),
                                      F32(shape.tokens, shape.groups)},
                           .updates = {},
                           .attrs = {{"groups", static_cast<double>(shape.groups)},
                                     {"accumulate", accumulate ? 1 : 0}},
                           .ints = {},
                           .adjust = Adjust};
      if (accumulate) example.inputs.push_back(x);
      examples.push_back(std::move(example));
    }
  }
  return examples;
}

}  // namespace

const OpSchema kRmsNormBackwardSchema = {"rms_norm_backward", Infer, Reference, nullptr, Examples};

}  // namespace choir::engine
