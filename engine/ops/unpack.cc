#include <fmt/format.h>

#include "engine/ops/call_check.h"
#include "engine/ops/packed_format.h"
#include "engine/ops/schemas.h"

namespace choir::engine {
namespace {

absl::StatusOr<std::vector<TensorDesc>> Infer(std::span<const TensorDesc> inputs,
                                              std::span<const TensorDesc> updates,
                                              const Attrs& attrs) {
  CallCheck check("unpack", inputs, updates, attrs);
  check.Counts(1, 0);
  check.IsWeight(0, "x", kAnyExtent, kAnyExtent);
  check.Require(!inputs.empty() && IsPackedFormat(inputs[0].format),
                "x must have a format that activations are packed in: BF16 or Q8_0");
  return check.Outputs({F32(check.rows(0), check.cols(0))});
}

void Reference(const RefCall& call) {
  call.outputs[0].values = call.inputs[0].values;
}

std::vector<OpExample> Examples() {
  std::vector<OpExample> examples;
  const auto add = [&examples](const WeightFormat& format, int64_t rows, int64_t cols) {
    const TensorDesc x = Weight(&format, rows, cols);
    examples.push_back(
        {.name = ToString(x), .inputs = {x}, .updates = {}, .attrs = {}, .ints = {}});
  };
  for (const Shape shape : {Shape{1, 1}, Shape{3, 7}, Shape{17, 65}, Shape{5, 1030}}) {
    add(kBF16Format, shape.rows, shape.cols);
  }
  for (const Shape shape : {Shape{1, 32}, Shape{3, 96}, Shape{4, 64}, Shape{7, 1056}}) {
    add(kQ8_0Format, shape.rows, shape.cols);
  }
  return examples;
}

}  // namespace

const OpSchema kUnpackSchema = {"unpack", Infer, Reference, nullptr, Examples};

}  // namespace choir::engine
