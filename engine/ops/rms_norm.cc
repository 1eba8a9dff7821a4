#include <cmath>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "engine/graph/autodiff.h"
#include "engine/ops/call_check.h"
#include "engine/ops/schemas.h"
#include "engine/quant/weight_format.h"

namespace choir::engine {
namespace {

absl::StatusOr<std::vector<TensorDesc>> Infer(std::span<const TensorDesc> inputs,
                                              std::span<const TensorDesc> updates,
                                              const Attrs& attrs) {
  CallCheck check("rms_norm", inputs, updates, attrs);
  check.Counts(2, 0);
  const int64_t channels = check.cols(0);
  check.Float("eps", 0, 1);
  const int64_t groups = check.Int("groups", 1, CallCheck::kMaxExtent);
  check.Require(channels % groups == 0, "the columns of x must divide into groups");
  check.IsF32(0, "x", kAnyExtent, kAnyExtent);
  check.IsF32Weight(1, "w", 1, channels / groups);
  return check.Outputs({F32(check.rows(0), channels), F32(check.rows(0), groups)});
}

void Reference(const RefCall& call) {
  const RefTensor& x = call.inputs[0];
  const int64_t groups = call.attrs.Int("groups");
  const int64_t width = x.shape.cols / groups;
  for (int64_t t = 0; t < x.shape.rows; ++t) {
    for (int64_t g = 0; g < groups; ++g) {
      double sum = 0;
      for (int64_t c = 0; c < width; ++c) sum += x.at(t, g * width + c) * x.at(t, g * width + c);
      const double mean = sum / static_cast<double>(width);
      const double rstd = 1 / std::sqrt(mean + call.attrs.Float("eps"));
      call.outputs[1].at(t, g) = rstd;
      for (int64_t c = 0; c < width; ++c) {
        call.outputs[0].at(t, g * width + c) =
            x.at(t, g * width + c) * rstd * call.inputs[1].at(0, c);
      }
    }
  }
}

absl::Status Gradient(GradientContext& context) {
  const std::optional<TensorId> dy = context.OutputGradient(0);
  if (!dy.has_value() || !context.Wants(0)) return absl::OkStatus();
  std::vector<TensorId> inputs = {*dy, context.Input(0), context.Input(1), context.Output(1)};
  const std::optional<TensorId> sum = context.AccumulatedInputGradient(0);
  if (sum.has_value()) inputs.push_back(*sum);
  const Attrs attrs = {{"groups", context.node().attrs.Float("groups")},
                       {"accumulate", sum.has_value() ? 1 : 0}};
  CHOIR_ASSIGN_OR_RETURN(const std::vector<TensorId> outputs,
                         context.AddNode("rms_norm_backward", std::move(inputs), attrs));
  return context.SetInputGradient(0, outputs[0]);
}

struct NormShape {
  int64_t tokens;
  int64_t channels;
  int64_t groups;
};

std::vector<OpExample> Examples() {
  std::vector<OpExample> examples;
  for (const NormShape shape : {NormShape{1, 1, 1}, NormShape{3, 7, 1}, NormShape{17, 65, 1},
                                NormShape{5, 40, 5}, NormShape{2, 1030, 1}, NormShape{4, 12, 12}}) {
    examples.push_back(
        {.name = fmt::format("{}x{}_g{}", shape.tokens, shape.channels, shape.groups),
         .inputs = {F32(shape.tokens, shape.channels),
                    Weight(&kF32Format, 1, shape.channels / shape.groups)},
         .updates = {},
         .attrs = {{"eps", 1e-5}, {"groups", static_cast<double>(shape.groups)}},
         .ints = {}});
  }
  return examples;
}

}  // namespace

const OpSchema kRmsNormSchema = {.name = "rms_norm",
                                 .infer = Infer,
                                 .reference = Reference,
                                 .gradient = Gradient,
                                 .examples = Examples,
                                 .cheap_to_repeat = true};

}  // namespace choir::engine
