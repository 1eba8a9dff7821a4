#include <array>

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
  CallCheck check("embed_grad", inputs, updates, attrs);
  check.Counts(3, 1);
  check.IsF32(0, "dy", kAnyExtent, kAnyExtent);
  check.IsI32(1, "ids", 1, check.rows(0));
  check.IsF32(2, "A", kAnyExtent, check.cols(0));
  check.UpdateIsF32(0, "d", kAnyExtent, check.rows(2));
  check.Float("scale", -1e12, 1e12);
  return check.Outputs({});
}

void Reference(const RefCall& call) {
  const RefTensor& dy = call.inputs[0];
  const RefTensor& a = call.inputs[2];
  const double scale = call.attrs.Float("scale");
  for (int64_t t = 0; t < dy.shape.rows; ++t) {
    const int32_t id = call.inputs[1].ints[static_cast<size_t>(t)];
    for (int64_t r = 0; r < a.shape.rows; ++r) {
      double sum = 0;
      for (int64_t c = 0; c < a.shape.cols; ++c) sum += dy.at(t, c) * a.at(r, c);
      call.updates[0].at(id, r) += scale * sum;
    }
  }
}

std::vector<OpExample> Examples() {
  std::vector<OpExample> examples;
  // Tokens, channels, rank; over few rows, so that ids come twice.
  for (const auto& [tokens, cols, rank] :
       {std::array<int64_t, 3>{1, 1, 1}, {7, 33, 2}, {70, 40, 5}, {9, 64, 65}}) {
    examples.push_back({.name = fmt::format("{}x{}_r{}", tokens, cols, rank),
                        .inputs = {F32(tokens, cols), I32(1, tokens), F32(rank, cols)},
                        .updates = {F32(11, rank)},
                        .attrs = {{"scale", 0.5}},
                        .ints = {ScatteredRow(tokens, 11)}});
  }
  return examples;
}

}  // namespace

const OpSchema kEmbedGradSchema = {"embed_grad", Infer, Reference, nullptr, Examples};

}  // namespace choir::engine
