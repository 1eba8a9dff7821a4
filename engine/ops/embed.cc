#include <array>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "engine/graph/autodiff.h"
#include "engine/ops/call_check.h"
#include "engine/ops/example_cases.h"
#include "engine/ops/schemas.h"

namespace choir::engine {
namespace {

// Ids lie in [0, V): the caller's duty, checked where tokens enter.
absl::StatusOr<std::vector<TensorDesc>> Infer(std::span<const TensorDesc> inputs,
                                              std::span<const TensorDesc> updates,
                                              const Attrs& attrs) {
  CallCheck check("embed", inputs, updates, attrs);
  const bool lora = check.Int("lora", 0, 1) == 1;
  check.Counts(lora ? 4 : 2, 0);
  const int64_t tokens = check.cols(0);
  const int64_t channels = check.cols(1);
  check.IsI32(0, "ids", 1, kAnyExtent);
  check.IsWeight(1, "table", kAnyExtent, kAnyExtent);
  check.Float("scale", -1e6, 1e6);
  if (!lora) return check.Outputs({F32(tokens, channels)});
  const int64_t rank = check.rows(2);
  check.IsF32(2, "A", kAnyExtent, channels);
  check.IsF32(3, "B", check.rows(1), rank);
  check.Float("lora_scale", -1e6, 1e6);
  return check.Outputs({F32(tokens, channels), F32(tokens, rank)});
}

// u = B[id]; y += scale * lora_scale * u A.
void AddBypass(const RefCall& call, int64_t t, int32_t id) {
  const RefTensor& a = call.inputs[2];
  const RefTensor& b = call.inputs[3];
  const double scale = call.attrs.Float("scale") * call.attrs.Float("lora_scale");
  for (int64_t r = 0; r < a.shape.rows; ++r) {
    call.outputs[1].at(t, r) = b.at(id, r);
    for (int64_t c = 0; c < a.shape.cols; ++c) {
      call.outputs[0].at(t, c) += scale * b.at(id, r) * a.at(r, c);
    }
  }
}

void Reference(const RefCall& call) {
  const double scale = call.attrs.Float("scale");
  RefTensor& out = call.outputs[0];
  for (int64_t t = 0; t < out.shape.rows; ++t) {
    const int32_t id = call.inputs[0].ints[static_cast<size_t>(t)];
    for (int64_t c = 0; c < out.shape.cols; ++c) out.at(t, c) = scale * call.inputs[1].at(id, c);
    if (call.attrs.Int("lora") == 1) AddBypass(call, t, id);
  }
}

// With the gradients of one row of the table's bypass: d A = u^T dy, d B[id] = A dy.
absl::Status Gradient(GradientContext& context) {
  const std::optional<TensorId> dy = context.OutputGradient(0);
  if (!dy.has_value() || context.node().attrs.Int("lora") == 0) return absl::OkStatus();
  const Attrs attrs = {
      {"scale", context.node().attrs.Float("scale") * context.node().attrs.Float("lora_scale")}};
  if (const auto d_a = context.ParameterGradient(2)) {
    CHOIR_RETURN_IF_ERROR(
        context.AddNode("lora_grad", {context.Output(1), *dy}, attrs, {*d_a}).status());
  }
  const auto d_b = context.ParameterGradient(3);
  if (!d_b.has_value()) return absl::OkStatus();
  return context.AddNode("embed_grad", {*dy, context.Input(0), context.Input(2)}, attrs, {*d_b})
      .status();
}

std::vector<OpExample> Examples() {
  std::vector<OpExample> examples;
  for (const int64_t wanted : {1, 65}) {
    for (const FormatRow& row : FormatRows(wanted)) {
      const double scale = wanted == 1 ? 1.0 : 8.0;
      examples.push_back({.name = fmt::format("{}_{}_x{}", row.format->name, row.cols, scale),
                          .inputs = {I32(1, 5), Weight(row.format, 11, row.cols)},
                          .updates = {},
                          .attrs = {{"scale", scale}, {"lora", 0}},
                          .ints = {ScatteredRow(5, 11)}});
    }
  }
  // Few rows, so that an id comes twice.
  for (const auto& [tokens, cols, rank] :
       {std::array<int64_t, 3>{1, 1, 1}, {7, 33, 2}, {20, 64, 5}}) {
    examples.push_back(
        {.name = fmt::format("{}x{}_r{}", tokens, cols, rank),
         .inputs = {I32(1, tokens), Weight(&kF32Format, 6, cols), F32(rank, cols), F32(6, rank)},
         .updates = {},
         .attrs = {{"scale", 2}, {"lora", 1}, {"lora_scale", 0.5}},
         .ints = {ScatteredRow(tokens, 6)}});
  }
  return examples;
}

}  // namespace

// Ids have no gradient and the table is frozen: only the bypass's factors have one.
const OpSchema kEmbedSchema = {"embed", Infer, Reference, Gradient, Examples};

}  // namespace choir::engine
