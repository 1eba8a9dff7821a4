#include <algorithm>
#include <cmath>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/graph/op_examples.h"
#include "engine/ops/dropout_mask.h"
#include "engine/ops/schemas.h"
#include "engine/quant/weight_format.h"

namespace choir::engine {
namespace {

constexpr uint64_t kSeed = 11;

TEST(OpTableTest, NamesAreUniqueAndFound) {
  std::set<std::string_view> names;
  for (size_t i = 0; i < AllOps().size(); ++i) {
    const OpSchema& op = *AllOps()[i];
    EXPECT_TRUE(names.insert(op.name).second) << op.name;
    EXPECT_EQ(*FindOp(op.name), &op);
    EXPECT_EQ(OpIndex(op), i);
  }
  EXPECT_EQ(FindOp("no_such_op").status().code(), absl::StatusCode::kNotFound);
}

TEST(OpTableTest, EveryExampleIsValidAndItsReferenceFinite) {
  for (const OpSchema* op : AllOps()) {
    const std::vector<OpExample> examples = op->examples();
    EXPECT_GE(examples.size(), 3u) << op->name;
    std::set<std::string> names;
    for (const OpExample& example : examples) {
      SCOPED_TRACE(std::string(op->name) + " / " + example.name);
      EXPECT_TRUE(names.insert(example.name).second);
      const auto built = BuildExampleGraph(*op, example, false);
      ASSERT_TRUE(built.ok()) << built.status().ToString();
      const ExampleValues drawn = DrawExampleValues(example, kSeed);
      RefValues values;
      for (size_t i = 0; i < built->inputs.size(); ++i) values[built->inputs[i]] = drawn.inputs[i];
      for (size_t i = 0; i < built->updates.size(); ++i) {
        values[built->updates[i]] = drawn.updates[i];
      }
      ASSERT_TRUE(RunReference(built->graph, values).ok());
      for (const auto& [id, value] : values) {
        EXPECT_TRUE(std::all_of(value.values.begin(), value.values.end(),
                                [](double v) { return std::isfinite(v); }));
      }
    }
  }
}

// The gradient rule, run in double precision, against central differences of the op's reference.
TEST(OpTableTest, GradientsMatchFiniteDifferences) {
  size_t num_checked = 0;
  for (const OpSchema* op : AllOps()) {
    for (const OpExample& example : op->examples()) {
      SCOPED_TRACE(std::string(op->name) + " / " + example.name);
      const auto built = BuildGradientGraph(*op, example);
      ASSERT_TRUE(built.ok()) << built.status().ToString();
      if (built->gradients.empty()) continue;
      const ExampleValues drawn = DrawExampleValues(example, kSeed);
      RefValues values;
      for (size_t i = 0; i < built->inputs.size(); ++i) values[built->inputs[i]] = drawn.inputs[i];
      values[built->seed] = DrawF32(built->graph.tensor(built->seed).desc.shape, kSeed + 1);
      for (const GradientGraph::Gradient& gradient : built->gradients) {
        const Tensor& tensor = built->graph.tensor(gradient.tensor);
        if (tensor.kind == TensorKind::kPersistent) values[gradient.tensor] = RefZeros(tensor.desc);
      }
      ASSERT_TRUE(RunReference(built->graph, values).ok());
      for (const GradientGraph::Gradient& gradient : built->gradients) {
        const std::vector<double>& got = values.at(gradient.tensor).values;
        for (const size_t element : SpreadElements(got.size(), 8)) {
          const double want = FiniteDifference(*op, example, drawn, values.at(built->seed),
                                               gradient.input, element);
          // Central differences in double precision: error about 1e-10 of the loss's scale.
          EXPECT_NEAR(got[element], want, 1e-7 * std::max(1.0, std::abs(want)))
              << "input " << gradient.input << " element " << element;
          ++num_checked;
        }
      }
    }
  }
  EXPECT_GT(num_checked, 900u);
}

// d A = v^T drop(h), as the training graph has it.
RefTensor GradientOfHeadsA(const OpExample& example, const ExampleValues& drawn,
                           const RefTensor& v) {
  std::vector<RefTensor> inputs = {v, drawn.inputs[0]};
  if (HasDropout(example.attrs)) inputs.push_back(drawn.inputs[7]);
  std::vector<RefTensor> gradient = {RefZeros(example.inputs[5])};
  const Attrs attrs = WithDropoutOf(example.attrs, {{"scale", 1}});
  kLoraGradSchema.reference({attrs, inputs, {}, gradient});
  return gradient[0];
}

// lm_head_loss has no gradient rule: it gives its gradient itself.
TEST(OpTableTest, LossGradientMatchesFiniteDifferences) {
  for (const OpExample& example : kLmHeadLossSchema.examples()) {
    if (example.attrs.Int("with_grad") == 0) continue;
    SCOPED_TRACE(example.name);
    const ExampleValues drawn = DrawExampleValues(example, kSeed);
    RefTensor seed = drawn.inputs[3];  // d loss / d nll_t = scale * weights_t
    for (double& value : seed.values) value *= drawn.inputs[4].values[0];
    std::vector<RefTensor> outputs;
    const auto descs = kLmHeadLossSchema.infer(example.inputs, example.updates, example.attrs);
    ASSERT_TRUE(descs.ok()) << descs.status();
    for (const TensorDesc& desc : *descs) outputs.push_back(RefZeros(desc));
    std::vector<RefTensor> updates;
    for (const TensorDesc& desc : example.updates) updates.push_back(RefZeros(desc));
    kLmHeadLossSchema.reference({example.attrs, drawn.inputs, outputs, updates});
    const auto expect_gradient = [&](size_t input, const RefTensor& got) {
      for (const size_t element : SpreadElements(got.values.size(), 8)) {
        EXPECT_NEAR(got.values[element],
                    FiniteDifference(kLmHeadLossSchema, example, drawn, seed, input, element), 1e-8)
            << "input " << input << " element " << element;
      }
    };
    expect_gradient(0, outputs[1]);
    if (updates.empty()) continue;
    expect_gradient(6, updates[0]);
    expect_gradient(5, GradientOfHeadsA(example, drawn, outputs[2]));
  }
}

TEST(OpTableTest, BrokenCallsNameOpAndShapes) {
  const TensorDesc x = F32(5, 64);
  struct Case {
    const OpSchema& op;
    std::vector<TensorDesc> inputs;
    Attrs attrs;
    std::string message;
  };
  const Attrs heads = {{"head_size", 16}, {"scale", 1}, {"window", 0}, {"softcap", 0}};
  const std::vector<Case> cases = {
      {kAddSchema, {x}, {}, "add: takes 2 inputs and 0 updates, got 1 and 0"},
      {kAddSchema, {x, F32(5, 65)}, {}, "add: b must be f32 5x64, got f32 5x65"},
      {kAddSchema, {F32(0, 4), F32(0, 4)}, {}, "empty or too large"},
      {kAddSchema, {F32(1ll << 30, 1ll << 30), x}, {}, "empty or too large"},
      {kLinearSchema, {x, Weight(&kF32Format, 8, 63)}, {{"lora", 0}}, "W must be weight anyx64"},
      {kLinearSchema, {x, Weight(&kF32Format, 8, 64)}, {}, "attribute lora is missing"},
      {kLinearSchema,
       {F32(5, 40), Weight(&kQ8_0Format, 8, 40)},
       {{"lora", 0}},
       "no whole number of Q8_0 blocks (32 elements each)"},
      {kLinearSchema,
       {x, Weight(&kF32Format, 8, 64), F32(4, 64), F32(8, 3)},
       {{"lora", 1}, {"lora_scale", 1}},
       "B must be f32 8x4, got f32 8x3"},
      {kAttentionSchema, {x, F32(5, 24), F32(5, 24), I32(1, 5)}, heads, "whole heads"},
      {kAttentionSchema, {x, F32(5, 48), F32(5, 48), I32(1, 5)}, heads, "a multiple of those"},
      {kRmsNormSchema,
       {x, Weight(&kF16Format, 1, 64)},
       {{"eps", 1e-5}, {"groups", 1}},
       "w must have format F32"},
      {kGluSchema, {x, x}, {{"act", 3}}, "attribute act is 3, must be from 0 to 2"},
      {kGluSchema, {x, x}, {{"act", 0.5}}, "no whole number"},
  };
  for (const Case& bad : cases) {
    const auto result = bad.op.infer(bad.inputs, {}, bad.attrs);
    EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument) << bad.message;
    const std::string message(result.status().message());
    EXPECT_THAT(message, testing::HasSubstr(bad.message));
    EXPECT_THAT(message, testing::HasSubstr("inputs ("));
  }
}

}  // namespace
}  // namespace choir::engine
