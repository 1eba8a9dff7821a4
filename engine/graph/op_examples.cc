#include "engine/graph/op_examples.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "base/check.h"
#include "base/random.h"
#include "base/status_macros.h"
#include "engine/graph/autodiff.h"

namespace choir::engine {
namespace {

void RoundToFloat(RefTensor& tensor) {
  for (double& value : tensor.values) value = static_cast<double>(static_cast<float>(value));
}

RefTensor DrawTensor(const TensorDesc& desc, SeededRng& rng) {
  RefTensor tensor = RefZeros(desc);
  // Matrices keep the size of what they multiply; a vector (a norm's) lies around 1.
  const bool is_weight = desc.dtype == DType::kWeight;
  const bool is_vector = is_weight && desc.shape.rows == 1;
  const double spread = is_vector ? 0.25 : 1 / std::sqrt(static_cast<double>(desc.shape.cols));
  for (double& value : tensor.values) {
    value = rng.NextNormal();
    if (is_weight) value = (is_vector ? 1 : 0) + spread * value;
  }
  return tensor;
}

// Adapter factors are the only real inputs whose gradients are added to persistent tensors.
bool IsAdapterFactor(const OpSchema& op, const OpExample& example, size_t input) {
  return (op.name == "linear" || op.name == "embed") && input >= 2 &&
         example.inputs[input].dtype == DType::kF32;
}

TensorId AddExampleInput(Graph& graph, const TensorDesc& desc, size_t index, bool persistent) {
  std::string name = "input" + std::to_string(index);
  if (desc.dtype == DType::kWeight || (desc.dtype == DType::kF32 && persistent)) {
    return graph.AddPersistent(std::move(name), desc);
  }
  return graph.AddInput(std::move(name), desc);
}

}  // namespace

ExampleValues DrawExampleValues(const OpExample& example, uint64_t seed) {
  SeededRng rng(seed);
  ExampleValues values;
  size_t next_ints = 0;
  for (const TensorDesc& desc : example.inputs) {
    values.inputs.push_back(DrawTensor(desc, rng));
    if (desc.dtype == DType::kI32) values.inputs.back().ints = example.ints.at(next_ints++);
  }
  for (const TensorDesc& desc : example.updates) values.updates.push_back(DrawTensor(desc, rng));
  if (example.adjust != nullptr) example.adjust(values.inputs, values.updates, example.attrs);
  values.weight_bytes.resize(values.inputs.size());
  for (size_t i = 0; i < values.inputs.size(); ++i) {
    RoundToFloat(values.inputs[i]);
    if (example.inputs[i].dtype != DType::kWeight) continue;
    values.weight_bytes[i] = EncodeRows(example.inputs[i], values.inputs[i]);
    values.inputs[i] = RefWeight(example.inputs[i], values.weight_bytes[i]);
  }
  for (size_t i = 0; i < values.updates.size(); ++i) {
    RoundToFloat(values.updates[i]);
    const TensorDesc& desc = example.updates[i];
    if (desc.dtype != DType::kWeight) continue;
    values.updates[i] = RefWeight(desc, EncodeRows(desc, values.updates[i]));
  }
  return values;
}

absl::StatusOr<ExampleGraph> BuildExampleGraph(const OpSchema& op, const OpExample& example,
                                               bool persistent) {
  ExampleGraph result;
  for (size_t i = 0; i < example.inputs.size(); ++i) {
    result.inputs.push_back(AddExampleInput(result.graph, example.inputs[i], i, persistent));
  }
  for (size_t i = 0; i < example.updates.size(); ++i) {
    result.updates.push_back(
        result.graph.AddPersistent("update" + std::to_string(i), example.updates[i]));
  }
  CHOIR_ASSIGN_OR_RETURN(
      result.outputs, result.graph.AddNode(op.name, result.inputs, example.attrs, result.updates));
  for (const TensorId output : result.outputs) result.graph.MarkOutput(output);
  return result;
}

absl::StatusOr<GradientGraph> BuildGradientGraph(const OpSchema& op, const OpExample& example) {
  GradientGraph result;
  Graph& graph = result.graph;
  if (op.gradient == nullptr) return result;
  std::map<TensorId, TensorId> parameter_gradients;
  BackwardOptions options;
  for (size_t i = 0; i < example.inputs.size(); ++i) {
    const bool is_factor = IsAdapterFactor(op, example, i);
    const TensorId id = AddExampleInput(graph, example.inputs[i], i, is_factor);
    result.inputs.push_back(id);
    if (is_factor) {
      const TensorId gradient =
          graph.AddPersistent("gradient" + std::to_string(i), example.inputs[i]);
      parameter_gradients[id] = gradient;
      result.gradients.push_back({i, gradient});
    } else if (example.inputs[i].dtype == DType::kF32) {
      options.wanted.push_back(id);
    }
  }
  CHOIR_ASSIGN_OR_RETURN(const std::vector<TensorId> outputs,
                         graph.AddNode(op.name, result.inputs, example.attrs));
  result.seed = graph.AddInput("seed", graph.tensor(outputs[0]).desc);
  CHOIR_ASSIGN_OR_RETURN(const auto gradients, AppendBackward(graph, {{outputs[0], result.seed}},
                                                              parameter_gradients, options));
  for (size_t i = 0; i < result.inputs.size(); ++i) {
    const auto found = gradients.find(result.inputs[i]);
    if (found == gradients.end()) continue;
    result.gradients.push_back({i, found->second});
    if (found->second != result.seed) graph.MarkOutput(found->second);
  }
  return result;
}

double FiniteDifference(const OpSchema& op, const OpExample& example, ExampleValues values,
                        const RefTensor& seed, size_t input, size_t element) {
  const auto descs = op.infer(example.inputs, example.updates, example.attrs);
  CHOIR_CHECK(descs.ok());
  double& x = values.inputs[input].values[element];
  const double at = x;
  // The cube root of a double's precision balances rounding against the third derivative.
  const double step = 6e-6 * std::max(1.0, std::abs(at));
  const auto first_output = [&](double value) {
    x = value;
    std::vector<RefTensor> outputs;
    for (const TensorDesc& desc : *descs) outputs.push_back(RefZeros(desc));
    op.reference({example.attrs, values.inputs, outputs, values.updates});
    return outputs[0].values;
  };
  const std::vector<double> above = first_output(at + step);
  const std::vector<double> below = first_output(at - step);
  double difference = 0;
  for (size_t i = 0; i < seed.values.size(); ++i) {
    difference += seed.values[i] * (above[i] - below[i]);
  }
  return difference / (2 * step);
}

std::vector<size_t> SpreadElements(size_t count, size_t limit) {
  const size_t picked = std::min(count, limit);
  std::vector<size_t> elements;
  for (size_t i = 0; i < picked; ++i) {
    elements.push_back(picked == 1 ? 0 : i * (count - 1) / (picked - 1));
  }
  return elements;
}

RefTensor DrawF32(Shape shape, uint64_t seed) {
  SeededRng rng(seed);
  RefTensor tensor = RefZeros({DType::kF32, shape, nullptr});
  for (double& value : tensor.values) value = rng.NextNormal();
  RoundToFloat(tensor);
  return tensor;
}

}  // namespace choir::engine
