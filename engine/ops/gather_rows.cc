#include "engine/ops/call_check.h"
#include "engine/ops/schemas.h"

namespace choir::engine {
namespace {

// Row numbers lie in [0, T): the caller's duty.
absl::StatusOr<std::vector<TensorDesc>> Infer(std::span<const TensorDesc> inputs,
                                              std::span<const TensorDesc> updates,
                                              const Attrs& attrs) {
  CallCheck check("gather_rows", inputs, updates, attrs);
  check.Counts(2, 0);
  check.IsF32(0, "x", kAnyExtent, kAnyExtent);
  check.IsI32(1, "rows", 1, kAnyExtent);
  return check.Outputs({F32(check.cols(1), check.cols(0))});
}

void Reference(const RefCall& call) {
  RefTensor& out = call.outputs[0];
  for (int64_t n = 0; n < out.shape.rows; ++n) {
    const int32_t row = call.inputs[1].ints[static_cast<size_t>(n)];
    for (int64_t c = 0; c < out.shape.cols; ++c) out.at(n, c) = call.inputs[0].at(row, c);
  }
}

OpExample Make(std::string name, TensorDesc x, std::vector<int32_t> rows) {
  const auto count = static_cast<int64_t>(rows.size());
  return {.name = std::move(name),
          .inputs = {x, I32(1, count)},
          .updates = {},
          .attrs = {},
          .ints = {std::move(rows)}};
}

std::vector<OpExample> Examples() {
  return {Make("one", F32(1, 1), {0}), Make("last_row", F32(9, 17), {8}),
          Make("repeats", F32(5, 65), {3, 0, 3, 4, 1, 3})};
}

}  // namespace

const OpSchema kGatherRowsSchema = {"gather_rows", Infer, Reference, nullptr, Examples};

}  // namespace choir::engine
