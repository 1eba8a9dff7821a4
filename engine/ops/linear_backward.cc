#include <algorithm>

#include <fmt/format.h>

#include "engine/ops/call_check.h"
#include "engine/ops/dropout_mask.h"
#include "engine/ops/example_cases.h"
#include "engine/ops/schemas.h"

namespace choir::engine {
namespace {

absl::StatusOr<std::vector<TensorDesc>> Infer(std::span<const TensorDesc> inputs,
                                              std::span<const TensorDesc> updates,
                                              const Attrs& attrs) {
  CallCheck check("linear_backward", inputs, updates, attrs);
  const bool lora = check.Int("lora", 0, 1) == 1;
  const bool accumulate = check.Int("accumulate", 0, 1) == 1;
  const size_t factors = (lora ? 2 : 0) + (HasDropout(attrs) ? 1 : 0);
  check.Counts(2 + factors + (accumulate ? 1 : 0), 0);
  const int64_t tokens = check.rows(0);
  const int64_t out = check.cols(0);
  const int64_t in = check.cols(1);
  check.IsF32(0, "dy", kAnyExtent, kAnyExtent);
  check.IsWeight(1, "W", out, kAnyExtent);
  check.Require(lora || !HasDropout(attrs), "only a LoRA bypass has dropout");
  if (accumulate) check.IsF32(2 + factors, "acc", tokens, in);
  if (!lora) return check.Outputs({F32(tokens, in)});
  const int64_t rank = check.rows(2);
  check.IsF32(2, "A", kAnyExtent, in);
  check.IsF32(3, "B", out, rank);
  check.Float("lora_scale", -1e6, 1e6);
  CheckDropout(attrs, 4, check);
  return check.Outputs({F32(tokens, in), F32(tokens, rank)});
}

// out += factor * a b.
void AddProduct(const RefTensor& a, const RefTensor& b, double factor, RefTensor& out) {
  for (int64_t t = 0; t < out.shape.rows; ++t) {
    for (int64_t n = 0; n < a.shape.cols; ++n) {
      const double weight = factor * a.at(t, n);
      for (int64_t c = 0; c < out.shape.cols; ++c) out.at(t, c) += weight * b.at(n, c);
    }
  }
}

void Reference(const RefCall& call) {
  const bool lora = call.attrs.Int("lora") == 1;
  if (call.attrs.Int("accumulate") == 1) call.outputs[0].values = call.inputs.back().values;
  AddProduct(call.inputs[0], call.inputs[1], 1, call.outputs[0]);
  if (!lora) return;
  AddProduct(call.inputs[0], call.inputs[3], call.attrs.Float("lora_scale"), call.outputs[1]);
  if (!HasDropout(call.attrs)) {
    AddProduct(call.outputs[1], call.inputs[2], 1, call.outputs[0]);
    return;
  }
  RefTensor bypass = call.outputs[0];
  std::fill(bypass.values.begin(), bypass.values.end(), 0);
  AddProduct(call.outputs[1], call.inputs[2], 1, bypass);
  const RefTensor dropped =
      DropoutMask::Of(call.attrs).With(call.inputs[4].ints.data()).Apply(bypass);
  for (size_t i = 0; i < dropped.values.size(); ++i) {
    call.outputs[0].values[i] += dropped.values[i];
  }
}

struct BackwardShape {
  int64_t tokens;
  int64_t in;
  int64_t out;
  int64_t rank;  // 0: no LoRA
  bool accumulate;
  double dropout = 0;
};

OpExample Make(const BackwardShape& shape, const FormatRow& row) {
  OpExample example = {
      .name =
          fmt::format("{}_{}x{}x{}_r{}{}{}", row.format->name, shape.tokens, row.cols, shape.out,
                      shape.rank, shape.accumulate ? "_acc" : "", shape.dropout > 0 ? "_drop" : ""),
      .inputs = {F32(shape.tokens, shape.out), Weight(row.format, shape.out, row.cols)},
      .updates = {},
      .attrs = {{"lora", shape.rank == 0 ? 0 : 1},
                {"lora_scale", 0.5},
                {"accumulate", shape.accumulate ? 1 : 0}},
      .ints = {}};
  if (shape.rank != 0) {
    example.inputs.push_back(F32(shape.rank, row.cols));
    example.inputs.push_back(F32(shape.out, shape.rank));
  }
  if (shape.dropout > 0) {
    example.inputs.push_back(I32(1, kDropoutKeyWords));
    example.ints = {{1, -2, 3}};
    example.attrs = example.attrs.With("dropout", shape.dropout).With("dropout_site", 5);
  }
  if (shape.accumulate) example.inputs.push_back(F32(shape.tokens, row.cols));
  return example;
}

std::vector<OpExample> Examples() {
  std::vector<OpExample> examples;
  for (const BackwardShape& shape :
       {BackwardShape{1, 1, 1, 0, false}, BackwardShape{3, 64, 33, 0, true},
        BackwardShape{5, 7, 3, 2, false}, BackwardShape{17, 65, 40, 4, true},
        BackwardShape{9, 96, 72, 8, false}, BackwardShape{1, 40, 9, 3, true}}) {
    for (const FormatRow& row : FormatRows(shape.in)) examples.push_back(Make(shape, row));
  }
  for (const BackwardShape& shape :
       {BackwardShape{5, 8, 3, 2, false, 0.25}, BackwardShape{17, 65, 40, 4, true, 0.5},
        BackwardShape{1, 39, 9, 3, true, 0.1}}) {
    examples.push_back(Make(shape, {&kF32Format, shape.in}));
  }
  return examples;
}

}  // namespace

const OpSchema kLinearBackwardSchema = {"linear_backward", Infer, Reference, nullptr, Examples};

}  // namespace choir::engine
