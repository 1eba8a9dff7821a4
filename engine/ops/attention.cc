#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

#include "base/status_macros.h"
#include "engine/graph/autodiff.h"
#include "engine/ops/attention_examples.h"
#include "engine/ops/attention_rules.h"
#include "engine/ops/schemas.h"

namespace choir::engine {
namespace {

absl::StatusOr<std::vector<TensorDesc>> Infer(std::span<const TensorDesc> inputs,
                                              std::span<const TensorDesc> updates,
                                              const Attrs& attrs) {
  CallCheck check("attention", inputs, updates, attrs);
  check.Counts(4, 0);
  const int64_t tokens = check.rows(0);
  check.IsF32(0, "q", tokens, kAnyExtent);
  check.IsF32(1, "k", tokens, kAnyExtent);
  check.IsF32(2, "v", tokens, check.cols(1));
  check.IsI32(3, "segment", 1, tokens);
  CheckAttentionHeads(check, check.cols(0), check.cols(1));
  const int64_t head_size = check.Int("head_size", 1, 1024);
  return check.Outputs({F32(tokens, check.cols(0)), F32(tokens, check.cols(0) / head_size)});
}

// One query row of one head: softmax over what it sees, times v.
void AttendRow(const RefCall& call, const AttentionAttrs& attrs, int64_t i, int64_t head,
               int64_t kv_head) {
  const auto& [q, k, v, segment] =
      std::tie(call.inputs[0], call.inputs[1], call.inputs[2], call.inputs[3].ints);
  std::vector<double> scores(static_cast<size_t>(i + 1), -std::numeric_limits<double>::infinity());
  for (int64_t j = 0; j <= i; ++j) {
    const bool same = segment[static_cast<size_t>(i)] == segment[static_cast<size_t>(j)];
    if (!same || !attrs.Sees(i, j)) continue;
    scores[static_cast<size_t>(j)] = AttentionScore(attrs, q, k, i, j, head, kv_head);
  }
  const double max = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  for (const double score : scores) sum += std::exp(score - max);
  const double lse = max + std::log(sum);
  call.outputs[1].at(i, head) = lse;
  for (int64_t j = 0; j <= i; ++j) {
    const double p = std::exp(scores[static_cast<size_t>(j)] - lse);
    for (int64_t d = 0; d < attrs.head_size; ++d) {
      call.outputs[0].at(i, head * attrs.head_size + d) +=
          p * v.at(j, kv_head * attrs.head_size + d);
    }
  }
}

void Reference(const RefCall& call) {
  const AttentionAttrs attrs(call.attrs);
  const int64_t heads = call.inputs[0].shape.cols / attrs.head_size;
  const int64_t group = call.inputs[0].shape.cols / call.inputs[1].shape.cols;
  for (int64_t i = 0; i < call.inputs[0].shape.rows; ++i) {
    for (int64_t head = 0; head < heads; ++head) AttendRow(call, attrs, i, head, head / group);
  }
}

absl::Status Gradient(GradientContext& context) {
  const std::optional<TensorId> d_out = context.OutputGradient(0);
  if (!d_out.has_value()) return absl::OkStatus();
  if (context.OutputGradient(1).has_value()) {
    return absl::FailedPreconditionError("attention: no gradient flows through lse");
  }
  CHOIR_ASSIGN_OR_RETURN(
      const std::vector<TensorId> gradients,
      context.AddNode("attention_backward",
                      {*d_out, context.Input(0), context.Input(1), context.Input(2),
                       context.Output(0), context.Output(1), context.Input(3)},
                      context.node().attrs));
  for (size_t input = 0; input < 3; ++input) {
    if (!context.Wants(input)) continue;
    CHOIR_RETURN_IF_ERROR(context.AddInputGradient(input, gradients[input]));
  }
  return absl::OkStatus();
}

std::vector<OpExample> Examples() {
  std::vector<OpExample> examples;
  for (const AttentionExample& example : AttentionExamples()) {
    examples.push_back({.name = example.name,
                        .inputs = {example.q, example.kv, example.kv, example.segment},
                        .updates = {},
                        .attrs = example.attrs,
                        .ints = {example.segment_ids}});
  }
  return examples;
}

}  // namespace

const OpSchema kAttentionSchema = {.name = "attention",
                                   .infer = Infer,
                                   .reference = Reference,
                                   .gradient = Gradient,
                                   .examples = Examples,
                                   .outputs_match_inputs = true};

}  // namespace choir::engine
