// A whole training step of a real model with the layers on. engine/model's own test compares it
// with the stored reference; here the same step also goes through the ways that only other devices
// take.

#include <algorithm>
#include <cmath>
#include <numeric>

#include <gtest/gtest.h>

#include "engine/backend/vulkan/vulkan_test_device.h"
#include "engine/lora/gguf_adapter.h"
#include "engine/model/device_model.h"
#include "engine/model/train_graph.h"
#include "tests/support/test_data.h"

namespace choir::engine {
namespace {

constexpr int64_t kTokens = 48;

template <typename T>
void Write(Executable& executable, TensorId input, const std::vector<T>& values) {
  const absl::Status status = executable.WriteInput(input, BytesOf(std::span(values)));
  ASSERT_TRUE(status.ok()) << status.ToString();
}

// The flat gradient of the stored adapter after one step over two packed segments, of the mean loss
// times `scale`; empty after a failure.
std::vector<float> Gradient(Backend& backend, const Model& model, const Adapter& adapter,
                            float scale = 1) {
  const auto weights = DeviceModel::Load(backend, model);
  auto device = DeviceAdapter::Create(backend, LayoutOf(adapter), true);
  const auto built = BuildTrainGraph(model, LayoutOf(adapter), {.tokens = kTokens});
  EXPECT_TRUE(weights.ok() && device.ok() && built.ok()) << weights.status().ToString();
  if (testing::Test::HasFailure()) return {};
  EXPECT_TRUE(device->Write(AdapterPart::kParameters, Flatten(adapter)).ok());
  Bindings bindings;
  weights->Bind(built->graph, bindings);
  device->Bind(built->graph, bindings);
  const auto made = backend.Compile(built->graph, bindings, {});
  EXPECT_TRUE(made.ok()) << made.status().ToString();
  if (!made.ok()) return {};
  std::vector<int32_t> ids(kTokens);
  std::iota(ids.begin(), ids.end(), 259);
  std::vector<int32_t> segments(kTokens, 1);
  std::vector<int32_t> positions(kTokens);
  std::fill_n(segments.begin(), 20, 0);
  std::iota(positions.begin(), positions.begin() + 20, 0);
  std::iota(positions.begin() + 20, positions.end(), 0);
  Write((**made), built->inputs.ids, ids);
  Write((**made), built->inputs.targets, std::vector<int32_t>(ids.rbegin(), ids.rend()));
  Write((**made), built->inputs.segments, segments);
  Write((**made), built->inputs.positions, positions);
  Write((**made), built->inputs.loss_weights, std::vector<float>(kTokens, 1.0f));
  Write((**made), built->inputs.loss_scale, std::vector<float>{scale / kTokens});
  const absl::Status status = (*made)->Run();
  EXPECT_TRUE(status.ok()) << status.ToString();
  const auto gradient = device->Read(AdapterPart::kGradients);
  EXPECT_TRUE(gradient.ok()) << gradient.status().ToString();
  return gradient.ok() ? *gradient : std::vector<float>();
}

TEST(VulkanModelTest, TilesAllocationsAndStagingKeepTheGradient) {
  CHOIR_TEST_DATA_OR_SKIP(data);
  CHOIR_VULKAN_OR_SKIP(plain, (VulkanOptions{.validation = true}));
  VulkanOptions limits = {.validation = true,
                          .max_weight_binding_bytes = 8192,
                          .max_weight_allocation_bytes = 65536,
                          .work_per_submission = 1e5,
                          .map_device_memory = false};
  CHOIR_VULKAN_OR_SKIP(small, limits);
  limits.lanes_on_software = false;
  CHOIR_VULKAN_OR_SKIP(small_gpu, limits);
  const auto adapter = ReadGgufAdapter(data + "/reference/lora/stories260K-f32/adapter.gguf");
  ASSERT_TRUE(adapter.ok()) << adapter.status().ToString();
  for (const char* format : {"f32", "q8_0"}) {
    SCOPED_TRACE(format);
    const auto model = Model::Open(data + "/models/stories260K-" + format + ".gguf");
    ASSERT_TRUE(model.ok()) << model.status().ToString();
    const std::vector<float> want = Gradient(*plain, *model, *adapter);
    float largest = 0;
    for (const float value : want) largest = std::max(largest, std::abs(value));
    EXPECT_GT(largest, 0);
    for (Backend* backend : {small.get(), small_gpu.get()}) {
      const std::vector<float> got = Gradient(*backend, *model, *adapter);
      ASSERT_EQ(got.size(), want.size());
      // Tiles of the weights' rows, and other shaders, change the order of f32 sums only.
      for (size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(got[i], want[i], 1e-4f * largest) << i;
    }
  }
}

// 2^-60 is far below what fp16 can hold, and a power of two: exact for f32, and for scaled
// operands.
TEST(VulkanModelTest, Fp16ProductsLoseNoGradientHoweverSmall) {
  CHOIR_TEST_DATA_OR_SKIP(data);
  VulkanOptions options = {.validation = true, .lanes_on_software = false};
  options.way = ProductWay::kPlain;
  CHOIR_VULKAN_OR_SKIP(plain, options);
  options.way = ProductWay::kHalf;
  CHOIR_VULKAN_OR_SKIP(half, options);
  const auto adapter = ReadGgufAdapter(data + "/reference/lora/stories260K-f32/adapter.gguf");
  ASSERT_TRUE(adapter.ok()) << adapter.status().ToString();
  const auto model = Model::Open(data + "/models/stories260K-q8_0.gguf");
  ASSERT_TRUE(model.ok()) << model.status().ToString();
  const std::vector<float> want = Gradient(*plain, *model, *adapter);
  const std::vector<float> got = Gradient(*half, *model, *adapter);
  constexpr float kTiny = 0x1p-60f;
  const std::vector<float> tiny = Gradient(*half, *model, *adapter, kTiny);
  ASSERT_EQ(got.size(), want.size());
  ASSERT_EQ(tiny.size(), want.size());
  float largest = 0;
  for (const float value : want) largest = std::max(largest, std::abs(value));
  // Errors of 2^-11 of every operand grow through the products of five blocks there and back.
  for (size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(got[i], want[i], 2e-2f * largest) << i;
  for (size_t i = 0; i < want.size(); ++i) {
    ASSERT_NEAR(tiny[i] / kTiny, got[i], 1e-5f * largest) << i;
  }
}

}  // namespace
}  // namespace choir::engine
