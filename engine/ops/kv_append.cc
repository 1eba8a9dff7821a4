#include "engine/ops/call_check.h"
#include "engine/ops/schemas.h"

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
  check.UpdateIsF32(0, "cache", kAnyExtent, check.cols(0));
  check.Require(check.rows(0) <= check.update_shape(0).rows, "more rows than the cache has");
  return check.Outputs({});
}

void Reference(const RefCall& call) {
  const int64_t start = call.inputs[1].ints[0];
  const RefTensor& x = call.inputs[0];
  for (int64_t t = 0; t < x.shape.rows; ++t) {
    for (int64_t c = 0; c < x.shape.cols; ++c) call.updates[0].at(start + t, c) = x.at(t, c);
  }
}

OpExample Make(std::string name, TensorDesc x, int64_t cache_rows, int32_t start) {
  return {.name = std::move(name),
          .inputs = {x, I32(1, 1)},
          .updates = {F32(cache_rows, x.shape.cols)},
          .attrs = {},
          .ints = {{start}}};
}

std::vector<OpExample> Examples() {
  return {Make("one", F32(1, 1), 1, 0), Make("prompt", F32(5, 17), 9, 0),
          Make("middle", F32(3, 65), 9, 4), Make("last_row", F32(1, 8), 33, 32)};
}

}  // namespace

const OpSchema kKvAppendSchema = {"kv_append", Infer, Reference, nullptr, Examples};

}  // namespace choir::engine
