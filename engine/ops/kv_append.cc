#include "engine/ops/call_check.h"
#include "engine/ops/schemas.h"
#include "engine/quant/weight_format.h"

namespace choir::engine {
namespace {

// start + T <= S: the caller's duty, checked where the position is known.
absl::StatusOr<std::vector<TensorDesc>> Infer(std::span<const TensorDesc> inputs,
                                              std::span<const TensorDesc> updates,
                                              const Attrs& attrs) {
  CallCheck check("kv_append", inputs, updates, attrs);
  check.Counts(2, 1);
  check.IsF32(0, "x", kAnyExtent, kAnyExtent);
  check.IsI32(1, "start", 1, 1);
  check.UpdateIsCache(0, "cache", kAnyExtent, check.cols(0));
  check.Require(check.rows(0) <= check.update_shape(0).rows, "more rows than the cache has");
  return check.Outputs({});
}

// Rounding to the cache's format is the keeping of the tensor, not of the op.
void Reference(const RefCall& call) {
  const int64_t start = call.inputs[1].ints[0];
  const RefTensor& x = call.inputs[0];
  for (int64_t t = 0; t < x.shape.rows; ++t) {
    for (int64_t c = 0; c < x.shape.cols; ++c) call.updates[0].at(start + t, c) = x.at(t, c);
  }
}

OpExample Make(std::string name, TensorDesc x, TensorDesc cache, int32_t start) {
  return {.name = std::move(name),
          .inputs = {x, I32(1, 1)},
          .updates = {cache},
          .attrs = {},
          .ints = {{start}}};
}

std::vector<OpExample> Examples() {
  return {
      Make("one", F32(1, 1), F32(1, 1), 0),
      Make("prompt", F32(5, 17), F32(9, 17), 0),
      Make("middle", F32(3, 65), F32(9, 65), 4),
      Make("last_row", F32(1, 8), F32(33, 8), 32),
      // Rows that end within a 32-bit word.
      Make("f16_one", F32(1, 1), Weight(&kF16Format, 1, 1), 0),
      Make("f16_middle", F32(3, 65), Weight(&kF16Format, 9, 65), 4),
      Make("f16_last_row", F32(1, 128), Weight(&kF16Format, 5, 128), 4),
      Make("q8_0_one", F32(1, 32), Weight(&kQ8_0Format, 1, 32), 0),
      Make("q8_0_middle", F32(3, 96), Weight(&kQ8_0Format, 9, 96), 3),
      Make("q8_0_last_row", F32(1, 2112), Weight(&kQ8_0Format, 5, 2112), 4),
  };
}

}  // namespace

const OpSchema kKvAppendSchema = {"kv_append", Infer, Reference, nullptr, Examples};

}  // namespace choir::engine
