#include <utility>

#include <fmt/format.h>

#include "engine/ops/call_check.h"
#include "engine/ops/dropout_mask.h"
#include "engine/ops/schemas.h"

namespace choir::engine {
namespace {

absl::StatusOr<std::vector<TensorDesc>> Infer(std::span<const TensorDesc> inputs,
                                              std::span<const TensorDesc> updates,
                                              const Attrs& attrs) {
  CallCheck check("lora_grad", inputs, updates, attrs);
  check.Counts(HasDropout(attrs) ? 3 : 2, 1);
  check.IsF32(0, "p", kAnyExtent, kAnyExtent);
  check.IsF32(1, "q", check.rows(0), kAnyExtent);
  check.UpdateIsF32(0, "d", check.cols(0), check.cols(1));
  check.Float("scale", -1e6, 1e6);
  CheckDropout(attrs, 2, check);
  return check.Outputs({});
}

void Reference(const RefCall& call) {
  const RefTensor& p = call.inputs[0];
  RefTensor q = call.inputs[1];
  if (HasDropout(call.attrs)) {
    q = DropoutMask::Of(call.attrs).With(call.inputs[2].ints.data()).Apply(q);
  }
  const double scale = call.attrs.Float("scale");
  for (int64_t t = 0; t < p.shape.rows; ++t) {
    for (int64_t m = 0; m < p.shape.cols; ++m) {
      for (int64_t n = 0; n < q.shape.cols; ++n) {
        call.updates[0].at(m, n) += scale * p.at(t, m) * q.at(t, n);
      }
    }
  }
}

struct ProductShape {
  int64_t tokens;
  int64_t m;
  int64_t n;
  double dropout = 0;
};

std::vector<OpExample> Examples() {
  std::vector<OpExample> examples;
  for (const ProductShape shape :
       {ProductShape{1, 1, 1}, ProductShape{5, 2, 7}, ProductShape{17, 65, 4},
        ProductShape{33, 8, 96}, ProductShape{64, 72, 8}, ProductShape{9, 3, 3},
        ProductShape{7, 2, 8, 0.5}, ProductShape{17, 4, 65, 0.25}, ProductShape{5, 9, 3, 0.1}}) {
    OpExample example = {.name = fmt::format("{}x{}x{}", shape.tokens, shape.m, shape.n),
                         .inputs = {F32(shape.tokens, shape.m), F32(shape.tokens, shape.n)},
                         .updates = {F32(shape.m, shape.n)},
                         .attrs = {{"scale", 0.5}},
                         .ints = {}};
    if (shape.dropout > 0) {
      example.name += "_drop";
      example.inputs.push_back(I32(1, kDropoutKeyWords));
      example.ints = {{1, 2, 3}};
      example.attrs = example.attrs.With("dropout", shape.dropout).With("dropout_site", 0);
    }
    examples.push_back(std::move(example));
  }
  return examples;
}

}  // namespace

const OpSchema kLoraGradSchema = {"lora_grad", Infer, Reference, nullptr, Examples};

}  // namespace choir::engine
