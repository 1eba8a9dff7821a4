#include <fmt/format.h>

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
  check.Counts(2, 0);
  check.IsI32(0, "ids", 1, kAnyExtent);
  check.IsWeight(1, "table", kAnyExtent, kAnyExtent);
  check.Float("scale", -1e6, 1e6);
  return check.Outputs({F32(check.cols(0), check.cols(1))});
}

void Reference(const RefCall& call) {
  const double scale = call.attrs.Float("scale");
  RefTensor& out = call.outputs[0];
  for (int64_t t = 0; t < out.shape.rows; ++t) {
    const int32_t id = call.inputs[0].ints[static_cast<size_t>(t)];
    for (int64_t c = 0; c < out.shape.cols; ++c) out.at(t, c) = scale * call.inputs[1].at(id, c);
  }
}

std::vector<OpExample> Examples() {
  std::vector<OpExample> examples;
  for (const int64_t wanted : {1, 65}) {
    for (const FormatRow& row : FormatRows(wanted)) {
      const double scale = wanted == 1 ? 1.0 : 8.0;
      examples.push_back({.name = fmt::format("{}_{}_x{}", row.format->name, row.cols, scale),
                          .inputs = {I32(1, 5), Weight(row.format, 11, row.cols)},
                          .updates = {},
                          .attrs = {{"scale", scale}},
                          .ints = {ScatteredRow(5, 11)}});
    }
  }
  return examples;
}

}  // namespace

// Ids have no gradient and the table is frozen.
const OpSchema kEmbedSchema = {"embed", Infer, Reference, nullptr, Examples};

}  // namespace choir::engine
