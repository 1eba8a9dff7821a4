#ifndef CHOIR_ENGINE_BACKEND_VULKAN_VULKAN_TEST_LAYER_H_
#define CHOIR_ENGINE_BACKEND_VULKAN_VULKAN_TEST_LAYER_H_

// For tests: a linear layer with an adapter, forward and back, larger than the ops' example cases.

#include <map>
#include <vector>

#include <gtest/gtest.h>

#include "engine/backend/backend.h"
#include "engine/quant/weight_format.h"

namespace choir::engine {

// No multiple of a workgroup's tile anywhere, nor of four in the gradients' sums; more weights than
// stand in f32 at once.
inline constexpr int64_t kLayerTokens = 37;
inline constexpr int64_t kLayerCols = 1024;
inline constexpr int64_t kLayerRows = 1100;
inline constexpr int64_t kLayerRank = 8;

inline std::vector<float> LayerValues(int64_t count, uint32_t seed) {
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) {
    seed = seed * 1664525u + 1013904223u;
    value = static_cast<float>(seed >> 8) / static_cast<float>(1 << 23) - 1;
  }
  return values;
}

// A linear layer with LoRA, back through itself onto its input, and the factors' gradients.
struct TestLayer {
  Graph graph;
  TensorId x = -1;
  TensorId w = -1;
  TensorId a = graph.AddPersistent("a", F32(kLayerRank, kLayerCols));
  TensorId b = graph.AddPersistent("b", F32(kLayerRows, kLayerRank));
  TensorId da = graph.AddPersistent("da", F32(kLayerRank, kLayerCols));
  TensorId db = graph.AddPersistent("db", F32(kLayerRows, kLayerRank));
  std::vector<TensorId> outputs;

  TestLayer(const WeightFormat& format, int64_t tokens) {
    x = graph.AddInput("x", F32(tokens, kLayerCols));
    w = graph.AddPersistent("w", Weight(&format, kLayerRows, kLayerCols));
    const Attrs forward = {{"lora", 1}, {"lora_scale", 0.5}};
    const auto y = graph.AddNode("linear", {x, w, a, b}, forward);
    const Attrs back = {{"lora", 1}, {"lora_scale", 0.5}, {"accumulate", 1}};
    const auto dx = graph.AddNode("linear_backward", {y->at(0), w, a, b, x}, back);
    EXPECT_TRUE(graph.AddNode("lora_grad", {dx->at(1), x}, {{"scale", 2}}, {da}).ok());
    EXPECT_TRUE(graph.AddNode("lora_grad", {y->at(0), y->at(1)}, {{"scale", 2}}, {db}).ok());
    outputs = {y->at(0), y->at(1), dx->at(0), dx->at(1)};
    for (const TensorId output : outputs) graph.MarkOutput(output);
  }

  [[nodiscard]] size_t Count(TensorId id) const {
    return static_cast<size_t>(graph.tensor(id).desc.shape.NumElements());
  }
};

inline std::vector<uint8_t> EncodeLayer(const WeightFormat& format,
                                        const std::vector<float>& values) {
  const size_t row_bytes = static_cast<size_t>(SizeBytes(Weight(&format, 1, kLayerCols)));
  std::vector<uint8_t> bytes(row_bytes * kLayerRows);
  for (size_t row = 0; row < kLayerRows; ++row) {
    format.quantize_row(std::span(values).subspan(row * kLayerCols, kLayerCols),
                        std::span(bytes).subspan(row * row_bytes, row_bytes));
  }
  return bytes;
}

// Outputs y, u, dx, v, then the gradients of A and B.
inline std::vector<std::vector<float>> RunLayer(Backend& backend, const WeightFormat& format,
                                                Compute compute = Compute::kF32,
                                                int64_t tokens = kLayerTokens) {
  const TestLayer layer(format, tokens);
  std::map<TensorId, Binding> bindings;
  const auto bind = [&](TensorId id, std::span<const uint8_t> bytes) {
    const auto buffer = backend.WrapWeights(bytes);
    EXPECT_TRUE(buffer.ok()) << buffer.status().ToString();
    bindings[id] = {*buffer, 0};
  };
  const std::vector<uint8_t> weights = EncodeLayer(format, LayerValues(kLayerRows * kLayerCols, 1));
  bind(layer.w, weights);
  for (const TensorId id : {layer.a, layer.b, layer.da, layer.db}) {
    const std::vector<float> values = LayerValues(static_cast<int64_t>(layer.Count(id)), 7);
    bind(id, BytesOf(std::span(values)));
  }
  const auto made = backend.Compile(layer.graph, bindings, {.compute = compute});
  EXPECT_TRUE(made.ok()) << made.status().ToString();
  const std::vector<float> input = LayerValues(tokens * kLayerCols, 3);
  EXPECT_TRUE((*made)->WriteInput(layer.x, BytesOf(std::span(input))).ok());
  const absl::Status status = (*made)->Run();
  EXPECT_TRUE(status.ok()) << status.ToString();
  std::vector<std::vector<float>> results;
  for (const TensorId id : layer.outputs) {
    std::vector<float> values(layer.Count(id));
    EXPECT_TRUE((*made)->ReadOutput(id, MutableBytesOf(std::span(values))).ok());
    results.push_back(std::move(values));
  }
  for (const TensorId id : {layer.da, layer.db}) {
    std::vector<float> values(layer.Count(id));
    EXPECT_TRUE(backend.Read(*bindings[id].buffer, 0, MutableBytesOf(std::span(values))).ok());
    results.push_back(std::move(values));
  }
  return results;
}

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_BACKEND_VULKAN_VULKAN_TEST_LAYER_H_
