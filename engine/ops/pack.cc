#include <vector>

#include <fmt/format.h>

#include "engine/ops/call_check.h"
#include "engine/ops/packed_format.h"
#include "engine/ops/schemas.h"

namespace choir::engine {
namespace {

absl::StatusOr<std::vector<TensorDesc>> Infer(std::span<const TensorDesc> inputs,
                                              std::span<const TensorDesc> updates,
                                              const Attrs& attrs) {
  CallCheck check("pack", inputs, updates, attrs);
  check.Counts(1, 0);
  check.IsF32(0, "x", kAnyExtent, kAnyExtent);
  const WeightFormat* const format = PackedFormatOf(attrs);
  check.Require(format != nullptr, "attribute format must be that of BF16 or Q8_0");
  if (format == nullptr) return check.Outputs({});
  const auto block = static_cast<int64_t>(format->block_elements);
  check.Require(check.cols(0) % block == 0, "a row must be whole blocks of the format");
  return check.Outputs({Weight(format, check.rows(0), check.cols(0))});
}

void Reference(const RefCall& call) {
  const WeightFormat& format = *PackedFormatOf(call.attrs);
  const RefTensor& x = call.inputs[0];
  const auto cols = static_cast<size_t>(x.shape.cols);
  std::vector<uint8_t> blocks(format.RowBytes(cols));
  for (size_t at = 0; at < x.values.size(); at += cols) {
    const auto row = x.values.begin() + static_cast<std::ptrdiff_t>(at);
    std::vector<float> elements(row, row + static_cast<std::ptrdiff_t>(cols));
    format.quantize_row(elements, blocks);
    format.dequantize_row(blocks, elements);
    for (size_t i = 0; i < cols; ++i) call.outputs[0].values[at + i] = elements[i];
  }
}

std::vector<OpExample> Examples() {
  std::vector<OpExample> examples;
  const auto add = [&examples](const WeightFormat& format, int64_t rows, int64_t cols) {
    examples.push_back({.name = fmt::format("{}_{}x{}", format.name, rows, cols),
                        .inputs = {F32(rows, cols)},
                        .updates = {},
                        .attrs = {{"format", static_cast<double>(format.type_id)}},
                        .ints = {}});
  };
  // Odd counts of elements and of blocks end within a 32-bit word.
  for (const Shape shape : {Shape{1, 1}, Shape{3, 7}, Shape{17, 65}, Shape{5, 1030}}) {
    add(kBF16Format, shape.rows, shape.cols);
  }
  for (const Shape shape : {Shape{1, 32}, Shape{3, 96}, Shape{4, 64}, Shape{7, 1056}}) {
    add(kQ8_0Format, shape.rows, shape.cols);
  }
  return examples;
}

}  // namespace

const OpSchema kPackSchema = {"pack", Infer, Reference, nullptr, Examples};

}  // namespace choir::engine
