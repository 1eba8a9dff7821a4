#include <iterator>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "engine/graph/autodiff.h"
#include "engine/ops/call_check.h"
#include "engine/ops/dropout_mask.h"
#include "engine/ops/example_cases.h"
#include "engine/ops/schemas.h"

namespace choir::engine {
namespace {

absl::StatusOr<std::vector<TensorDesc>> Infer(std::span<const TensorDesc> inputs,
                                              std::span<const TensorDesc> updates,
                                              const Attrs& attrs) {
  CallCheck check("linear", inputs, updates, attrs);
  const bool lora = check.Int("lora", 0, 1) == 1;
  check.Counts(2 + (lora ? 2 : 0) + (HasDropout(attrs) ? 1 : 0), 0);
  check.Require(lora || !HasDropout(attrs), "only a LoRA bypass has dropout");
  const int64_t tokens = check.rows(0);
  const int64_t in = check.cols(0);
  const int64_t out = check.rows(1);
  check.IsF32(0, "x", kAnyExtent, kAnyExtent);
  check.IsWeight(1, "W", kAnyExtent, in);
  if (!lora) return check.Outputs({F32(tokens, out)});
  const int64_t rank = check.rows(2);
  check.IsF32(2, "A", kAnyExtent, in);
  check.IsF32(3, "B", out, rank);
  check.Float("lora_scale", -1e6, 1e6);
  CheckDropout(attrs, 4, check);
  return check.Outputs({F32(tokens, out), F32(tokens, rank)});
}

// y = a b^T, added to `out` with a factor.
void AddProduct(const RefTensor& a, const RefTensor& b, double factor, RefTensor& out) {
  for (int64_t t = 0; t < out.shape.rows; ++t) {
    for (int64_t n = 0; n < out.shape.cols; ++n) {
      double sum = 0;
      for (int64_t c = 0; c < a.shape.cols; ++c) sum += a.at(t, c) * b.at(n, c);
      out.at(t, n) += factor * sum;
    }
  }
}

// Hu et al. 2021, eq. 3.
void Reference(const RefCall& call) {
  AddProduct(call.inputs[0], call.inputs[1], 1, call.outputs[0]);
  if (call.attrs.Int("lora") == 0) return;
  if (HasDropout(call.attrs)) {
    const DropoutMask mask = DropoutMask::Of(call.attrs).With(call.inputs[4].ints.data());
    AddProduct(mask.Apply(call.inputs[0]), call.inputs[2], 1, call.outputs[1]);
  } else {
    AddProduct(call.inputs[0], call.inputs[2], 1, call.outputs[1]);
  }
  AddProduct(call.outputs[1], call.inputs[3], call.attrs.Float("lora_scale"), call.outputs[0]);
}

// dx and v, unless neither the input nor A wants them. Returns v.
absl::StatusOr<std::optional<TensorId>> AddLinearBackward(GradientContext& context, TensorId dy,
                                                          bool lora, bool trains_a) {
  if (!context.Wants(0) && !trains_a) return std::nullopt;
  std::vector<TensorId> inputs = {dy, context.Input(1)};
  if (lora) inputs.insert(inputs.end(), {context.Input(2), context.Input(3)});
  if (HasDropout(context.node().attrs)) inputs.push_back(context.Input(4));
  const std::optional<TensorId> sum = context.AccumulatedInputGradient(0);
  const bool accumulate = sum.has_value() && context.Wants(0);
  if (accumulate) inputs.push_back(*sum);
  const Attrs attrs = {{"lora", lora ? 1 : 0},
                       {"lora_scale", context.node().attrs.FloatOr("lora_scale", 0)},
                       {"accumulate", accumulate ? 1 : 0}};
  CHOIR_ASSIGN_OR_RETURN(const std::vector<TensorId> outputs,
                         context.AddNode("linear_backward", std::move(inputs),
                                         WithDropoutOf(context.node().attrs, attrs)));
  if (context.Wants(0)) CHOIR_RETURN_IF_ERROR(context.SetInputGradient(0, outputs[0]));
  if (!lora) return std::nullopt;
  return outputs[1];
}

absl::Status Gradient(GradientContext& context) {
  const std::optional<TensorId> dy = context.OutputGradient(0);
  if (!dy.has_value()) return absl::OkStatus();
  const bool lora = context.node().attrs.Int("lora") == 1;
  const std::optional<TensorId> d_a = lora ? context.ParameterGradient(2) : std::nullopt;
  const std::optional<TensorId> d_b = lora ? context.ParameterGradient(3) : std::nullopt;
  if (d_b.has_value()) {
    const Attrs attrs = {{"scale", context.node().attrs.Float("lora_scale")}};
    CHOIR_RETURN_IF_ERROR(
        context.AddNode("lora_grad", {*dy, context.Output(1)}, attrs, {*d_b}).status());
  }
  CHOIR_ASSIGN_OR_RETURN(const std::optional<TensorId> v,
                         AddLinearBackward(context, *dy, lora, d_a.has_value()));
  if (!d_a.has_value()) return absl::OkStatus();
  std::vector<TensorId> inputs = {*v, context.Input(0)};
  if (HasDropout(context.node().attrs)) inputs.push_back(context.Input(4));
  const Attrs attrs = WithDropoutOf(context.node().attrs, {{"scale", 1}});
  return context.AddNode("lora_grad", std::move(inputs), attrs, {*d_a}).status();
}

struct LinearShape {
  int64_t tokens;
  int64_t in;
  int64_t out;
  int64_t rank;  // 0: no LoRA
};

struct DroppedShape {
  LinearShape linear;
  double rate;
};

OpExample Dropped(const LinearShape& shape, double rate) {
  return {
      .name =
          fmt::format("{}x{}x{}_r{}_drop{}", shape.tokens, shape.in, shape.out, shape.rank, rate),
      .inputs = {F32(shape.tokens, shape.in), Weight(&kF32Format, shape.out, shape.in),
                 F32(shape.rank, shape.in), F32(shape.out, shape.rank), I32(1, kDropoutKeyWords)},
      .updates = {},
      .attrs = {{"lora", 1}, {"lora_scale", 2}, {"dropout", rate}, {"dropout_site", 3}},
      .ints = {{-123456789, 42, 7}}};
}

// Of 1 to 4 tokens, with and without a bypass: generation and the ends of prompts have kernels of
// their own. Rows of one block, of several, and of a number that no kernel takes at once.
constexpr LinearShape kFewTokens[] = {{1, 1, 1, 0},   {1, 64, 33, 0}, {1, 40, 9, 3},
                                      {2, 64, 37, 0}, {2, 260, 9, 3}, {3, 40, 33, 0},
                                      {3, 70, 66, 8}, {4, 300, 5, 0}, {4, 64, 35, 4}};
constexpr LinearShape kManyTokens[] = {{5, 7, 3, 2}, {17, 65, 40, 4}, {9, 96, 72, 8}};

std::vector<OpExample> Examples() {
  std::vector<OpExample> examples;
  std::vector<LinearShape> shapes(std::begin(kFewTokens), std::end(kFewTokens));
  shapes.insert(shapes.end(), std::begin(kManyTokens), std::end(kManyTokens));
  for (const LinearShape& shape : shapes) {
    for (const FormatRow& row : FormatRows(shape.in)) {
      OpExample example = {
          .name = fmt::format("{}_{}x{}x{}_r{}", row.format->name, shape.tokens, row.cols,
                              shape.out, shape.rank),
          .inputs = {F32(shape.tokens, row.cols), Weight(row.format, shape.out, row.cols)},
          .updates = {},
          .attrs = {{"lora", shape.rank == 0 ? 0 : 1}, {"lora_scale", 2}},
          .ints = {}};
      if (shape.rank != 0) {
        example.inputs.push_back(F32(shape.rank, row.cols));
        example.inputs.push_back(F32(shape.out, shape.rank));
      }
      examples.push_back(std::move(example));
    }
  }
  // A whole row of quads, a row that ends within one, few tokens, a rate that drops nearly all.
  for (const DroppedShape& shape :
       {DroppedShape{{5, 8, 3, 2}, 0.25}, DroppedShape{{17, 65, 40, 4}, 0.5},
        DroppedShape{{1, 39, 9, 3}, 0.1}, DroppedShape{{3, 40, 7, 2}, 0.4},
        DroppedShape{{6, 34, 5, 1}, 0.9}}) {
    examples.push_back(Dropped(shape.linear, shape.rate));
  }
  return examples;
}

}  // namespace

const OpSchema kLinearSchema = {"linear", Infer, Reference, Gradient, Examples};

}  // namespace choir::engine
