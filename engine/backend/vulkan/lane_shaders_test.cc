// The shaders for devices that are a CPU beside those for GPUs, on sizes that the ops' example
// cases are too small for. On a GPU both are the same.

#include <algorithm>
#include <cmath>
#include <map>

#include <gtest/gtest.h>

#include "engine/backend/vulkan/vulkan_test_device.h"
#include "engine/quant/weight_format.h"

namespace choir::engine {
namespace {

// No multiple of a workgroup's tile anywhere, nor of four in the gradients' sums; more weights than
// stand in f32 at once.
constexpr int64_t kTokens = 37;
constexpr int64_t kCols = 1024;
constexpr int64_t kRows = 1100;
constexpr int64_t kRank = 8;

std::vector<float> Values(int64_t count, uint32_t seed) {
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) {
    seed = seed * 1664525u + 1013904223u;
    value = static_cast<float>(seed >> 8) / static_cast<float>(1 << 23) - 1;
  }
  return values;
}

// A linear layer with LoRA, back through itself onto its input, and the factors' gradients.
struct Layer {
  Graph graph;
  TensorId x = graph.AddInput("x", F32(kTokens, kCols));
  TensorId w = -1;
  TensorId a = graph.AddPersistent("a", F32(kRank, kCols));
  TensorId b = graph.AddPersistent("b", F32(kRows, kRank));
  TensorId da = graph.AddPersistent("da", F32(kRank, kCols));
  TensorId db = graph.AddPersistent("db", F32(kRows, kRank));
  std::vector<TensorId> outputs;

  explicit Layer(const WeightFormat& format) {
    w = graph.AddPersistent("w", Weight(&format, kRows, kCols));
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

std::vector<uint8_t> Encode(const WeightFormat& format, const std::vector<float>& values) {
  const size_t row_bytes = static_cast<size_t>(SizeBytes(Weight(&format, 1, kCols)));
  std::vector<uint8_t> bytes(row_bytes * kRows);
  for (size_t row = 0; row < kRows; ++row) {
    format.quantize_row(std::span(values).subspan(row * kCols, kCols),
                        std::span(bytes).subspan(row * row_bytes, row_bytes));
  }
  return bytes;
}

// Outputs y, u, dx, v, then the gradients of A and B.
std::vector<std::vector<float>> RunLayer(Backend& backend, const WeightFormat& format) {
  const Layer layer(format);
  std::map<TensorId, Binding> bindings;
  const auto bind = [&](TensorId id, std::span<const uint8_t> bytes) {
    const auto buffer = backend.WrapWeights(bytes);
    EXPECT_TRUE(buffer.ok()) << buffer.status().ToString();
    bindings[id] = {*buffer, 0};
  };
  const std::vector<uint8_t> weights = Encode(format, Values(kRows * kCols, 1));
  bind(layer.w, weights);
  for (const TensorId id : {layer.a, layer.b, layer.da, layer.db}) {
    const std::vector<float> values = Values(static_cast<int64_t>(layer.Count(id)), 7);
    bind(id, BytesOf(std::span(values)));
  }
  const auto made = backend.Compile(layer.graph, bindings, {});
  EXPECT_TRUE(made.ok()) << made.status().ToString();
  const std::vector<float> input = Values(kTokens * kCols, 3);
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

TEST(LaneShadersTest, LargeLayersEqualThoseOfTheShadersForGpus) {
  CHOIR_VULKAN_OR_SKIP(lanes, (VulkanOptions{.validation = true}));
  CHOIR_VULKAN_OR_SKIP(gpu, (VulkanOptions{.validation = true, .lanes_on_software = false}));
  for (const WeightFormat* format : {&kF32Format, &kF16Format, &kQ8_0Format}) {
    SCOPED_TRACE(format->name);
    const auto got = RunLayer(*lanes, *format);
    const auto want = RunLayer(*gpu, *format);
    for (size_t i = 0; i < want.size(); ++i) {
      SCOPED_TRACE(i);
      float largest = 0;
      for (const float value : want[i]) largest = std::max(largest, std::abs(value));
      EXPECT_GT(largest, 0);
      // Sums of up to 1,100 products in f32, in another order; dx and the gradients sum over sums.
      for (size_t k = 0; k < want[i].size(); ++k) {
        ASSERT_NEAR(got[i][k], want[i][k], 1e-5f * largest) << k;
      }
    }
  }
}

}  // namespace
}  // namespace choir::engine
