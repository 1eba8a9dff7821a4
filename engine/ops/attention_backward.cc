#include <cmath>

#include "engine/ops/attention_examples.h"
#include "engine/ops/attention_rules.h"
#include "engine/ops/schemas.h"

namespace choir::engine {
namespace {

absl::StatusOr<std::vector<TensorDesc>> Infer(std::span<const TensorDesc> inputs,
                                              std::span<const TensorDesc> updates,
                                              const Attrs& attrs) {
  CallCheck check("attention_backward", inputs, updates, attrs);
  check.Counts(7, 0);
  const int64_t tokens = check.rows(1);
  const int64_t q_cols = check.cols(1);
  const int64_t kv_cols = check.cols(2);
  CheckAttentionHeads(check, q_cols, kv_cols);
  check.IsF32(0, "do", tokens, q_cols);
  check.IsF32(1, "q", tokens, q_cols);
  check.IsF32(2, "k", tokens, kv_cols);
  check.IsF32(3, "v", tokens, kv_cols);
  check.IsF32(4, "o", tokens, q_cols);
  check.IsF32(5, "lse", tokens, q_cols / check.Int("head_size", 1, 1024));
  check.IsI32(6, "segment", 1, tokens);
  return check.Outputs({F32(tokens, q_cols), F32(tokens, kv_cols), F32(tokens, kv_cols)});
}

// Columns of head h in a row.
struct HeadRow {
  int64_t row;
  int64_t first_col;
};

double Dot(const RefTensor& a, HeadRow at_a, const RefTensor& b, HeadRow at_b, int64_t count) {
  double sum = 0;
  for (int64_t d = 0; d < count; ++d) {
    sum += a.at(at_a.row, at_a.first_col + d) * b.at(at_b.row, at_b.first_col + d);
  }
  return sum;
}

void AddScaled(RefTensor& to, HeadRow at_to, double factor, const RefTensor& from, HeadRow at_from,
               int64_t count) {
  for (int64_t d = 0; d < count; ++d) {
    to.at(at_to.row, at_to.first_col + d) += factor * from.at(at_from.row, at_from.first_col + d);
  }
}

// Dao et al. 2022 (FlashAttention), algorithm 4, for one query row of one head: the probabilities
// come back from lse, and sum_j p_j dp_j from do . o.
void BackwardRow(const RefCall& call, const AttentionAttrs& attrs, HeadRow at_q, int64_t head,
                 int64_t kv_head) {
  const RefTensor& d_out = call.inputs[0];
  const RefTensor& q = call.inputs[1];
  const RefTensor& k = call.inputs[2];
  const RefTensor& v = call.inputs[3];
  const std::vector<int32_t>& segment = call.inputs[6].ints;
  const int64_t i = at_q.row;
  const double d_out_o = Dot(d_out, at_q, call.inputs[4], at_q, attrs.head_size);
  for (int64_t j = 0; j <= i; ++j) {
    const bool same = segment[static_cast<size_t>(i)] == segment[static_cast<size_t>(j)];
    if (!same || !attrs.Sees(i, j)) continue;
    const HeadRow at_kv = {j, kv_head * attrs.head_size};
    const double score = AttentionScore(attrs, q, k, i, j, head, kv_head);
    const double p = std::exp(score - call.inputs[5].at(i, head));
    const double dp = Dot(d_out, at_q, v, at_kv, attrs.head_size);
    const double d_dot = p * (dp - d_out_o) * attrs.CapSlope(score) * attrs.scale;
    AddScaled(call.outputs[0], at_q, d_dot, k, at_kv, attrs.head_size);
    AddScaled(call.outputs[1], at_kv, d_dot, q, at_q, attrs.head_size);
    AddScaled(call.outputs[2], at_kv, p, d_out, at_q, attrs.head_size);
  }
}

void Reference(const RefCall& call) {
  const AttentionAttrs attrs(call.attrs);
  const int64_t heads = call.inputs[1].shape.cols / attrs.head_size;
  const int64_t group = call.inputs[1].shape.cols / call.inputs[2].shape.cols;
  for (int64_t i = 0; i < call.inputs[1].shape.rows; ++i) {
    for (int64_t head = 0; head < heads; ++head) {
      BackwardRow(call, attrs, {i, head * attrs.head_size}, head, head / group);
    }
  }
}

// o and lse are those that the forward op would have given: a backend may rely on that.
void Adjust(std::span<RefTensor> inputs, std::span<RefTensor> /*updates*/, const Attrs& attrs) {
  const std::vector<RefTensor> forward = {inputs[1], inputs[2], inputs[3], inputs[6]};
  std::vector<RefTensor> outputs = {inputs[4], inputs[5]};
  for (RefTensor& output : outputs) output.values.assign(output.values.size(), 0);
  kAttentionSchema.reference({attrs, forward, outputs, {}});
  inputs[4] = outputs[0];
  inputs[5] = outputs[1];
}

std::vector<OpExample> Examples() {
  std::vector<OpExample> examples;
  for (const AttentionExample& example : AttentionExamples()) {
    examples.push_back({.name = example.name,
                        .inputs = {example.q, example.q, example.kv, example.kv, example.q,
                                   example.lse, example.segment},
                        .updates = {},
                        .attrs = example.attrs,
                        .ints = {example.segment_ids},
                        .adjust = Adjust});
  }
  return examples;
}

}  // namespace

const OpSchema kAttentionBackwardSchema = {"attention_backward", Infer, Reference, nullptr,
                                           Examples};

}  // namespace choir::engine
