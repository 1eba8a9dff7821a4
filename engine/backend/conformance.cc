#include "engine/backend/conformance.h"

#include <algorithm>
#include <cmath>
#include <string>

#include <gtest/gtest.h>

#include "base/status_macros.h"
#include "engine/backend/conformance_session.h"
#include "engine/graph/op_examples.h"

namespace choir::engine {
namespace {

constexpr uint64_t kSeed = 20240229;

// Finite differences of a double reference are good to about 1e-9; a backend's f32 is the limit.
constexpr size_t kDifferencesPerTensor = 16;

// Values are drawn of order one. A tensor whose terms cancel to almost nothing (the gradient of a
// softmax over one element) keeps their rounding, so it is not held to a share of its own size.
constexpr double kSmallestMagnitude = 1e-2;

double LargestMagnitude(const std::vector<double>& values) {
  double largest = 0;
  for (const double value : values) largest = std::max(largest, std::abs(value));
  return largest;
}

void ExpectNear(const std::string& what, const RefTensor& got, const RefTensor& want,
                double tolerance) {
  ASSERT_EQ(got.values.size(), want.values.size()) << what;
  const double limit = tolerance * std::max(LargestMagnitude(want.values), kSmallestMagnitude);
  for (size_t i = 0; i < want.values.size(); ++i) {
    // Written so that NaN fails.
    if (std::abs(got.values[i] - want.values[i]) <= limit) continue;
    ADD_FAILURE() << what << ": element " << i << " of " << want.values.size() << " is "
                  << got.values[i] << ", the reference says " << want.values[i]
                  << " (allowed difference " << limit << ")";
    return;
  }
}

absl::Status CheckValues(Backend& backend, const OpSchema& op, const OpExample& example,
                         bool persistent, const ConformanceOptions& options) {
  CHOIR_ASSIGN_OR_RETURN(const ExampleGraph built, BuildExampleGraph(op, example, persistent));
  const ExampleValues values = DrawExampleValues(example, kSeed);
  RefValues want;
  ConformanceSession session(backend, built.graph);
  for (size_t i = 0; i < built.inputs.size(); ++i) {
    want[built.inputs[i]] = values.inputs[i];
    session.SetValue(built.inputs[i], values.inputs[i], values.weight_bytes[i]);
  }
  for (size_t i = 0; i < built.updates.size(); ++i) {
    want[built.updates[i]] = values.updates[i];
    session.SetValue(built.updates[i], values.updates[i], {});
  }
  CHOIR_RETURN_IF_ERROR(RunReference(built.graph, want));
  // Without state to change, a second run must give what the first gave.
  CHOIR_RETURN_IF_ERROR(session.Run(options.compile, built.updates.empty() ? 2 : 1));
  for (const auto& ids : {built.outputs, built.updates}) {
    for (const TensorId id : ids) {
      CHOIR_ASSIGN_OR_RETURN(const RefTensor got, session.Value(id));
      ExpectNear(built.graph.tensor(id).name, got, want.at(id), options.tolerance);
    }
  }
  return absl::OkStatus();
}

void CompareWithDifferences(const OpSchema& op, const OpExample& example,
                            const ExampleValues& values, const RefTensor& seed, size_t input,
                            const RefTensor& got, double tolerance) {
  RefTensor picked_got;
  RefTensor picked_want;
  for (const size_t element : SpreadElements(got.values.size(), kDifferencesPerTensor)) {
    picked_got.values.push_back(got.values[element]);
    picked_want.values.push_back(FiniteDifference(op, example, values, seed, input, element));
  }
  // The gradient's scale is that of the whole tensor, which the picked elements may miss.
  const double scale = std::max(
      1.0, LargestMagnitude(got.values) / std::max(LargestMagnitude(picked_want.values), 1e-6));
  ExpectNear("gradient of input " + std::to_string(input), picked_got, picked_want,
             tolerance * scale);
}

absl::Status CheckGradients(Backend& backend, const OpSchema& op, const OpExample& example,
                            const ConformanceOptions& options) {
  CHOIR_ASSIGN_OR_RETURN(const GradientGraph built, BuildGradientGraph(op, example));
  if (built.gradients.empty()) return absl::OkStatus();
  const ExampleValues values = DrawExampleValues(example, kSeed);
  const RefTensor seed = DrawF32(built.graph.tensor(built.seed).desc.shape, kSeed + 1);
  ConformanceSession session(backend, built.graph);
  for (size_t i = 0; i < built.inputs.size(); ++i) {
    session.SetValue(built.inputs[i], values.inputs[i], values.weight_bytes[i]);
  }
  session.SetValue(built.seed, seed, {});
  CHOIR_RETURN_IF_ERROR(session.Run(options.compile));
  for (const GradientGraph::Gradient& gradient : built.gradients) {
    RefTensor got = seed;
    if (gradient.tensor != built.seed) {
      CHOIR_ASSIGN_OR_RETURN(got, session.Value(gradient.tensor));
    }
    CompareWithDifferences(op, example, values, seed, gradient.input, got, options.tolerance);
  }
  return absl::OkStatus();
}

bool IsWanted(const OpExample& example, const ConformanceOptions& options) {
  if (options.only_format == nullptr) return true;
  return std::any_of(example.inputs.begin(), example.inputs.end(), [&](const TensorDesc& desc) {
    return desc.dtype == DType::kWeight && desc.format == options.only_format;
  });
}

}  // namespace

void RunOpConformance(Backend& backend, const ConformanceOptions& options) {
  for (const OpSchema* op : AllOps()) {
    for (const OpExample& example : op->examples()) {
      if (!IsWanted(example, options)) continue;
      SCOPED_TRACE(std::string(op->name) + " / " + example.name);
      for (const bool persistent : {false, true}) {
        const absl::Status values = CheckValues(backend, *op, example, persistent, options);
        EXPECT_TRUE(values.ok()) << values.ToString();
      }
      const absl::Status gradients = CheckGradients(backend, *op, example, options);
      EXPECT_TRUE(gradients.ok()) << gradients.ToString();
    }
  }
}

}  // namespace choir::engine
