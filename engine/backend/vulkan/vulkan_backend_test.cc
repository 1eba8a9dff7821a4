#include "engine/backend/vulkan/vulkan_backend.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>

#include <gtest/gtest.h>

#include "engine/backend/vulkan/validation_log.h"
#include "engine/backend/vulkan/vulkan_test_device.h"
#include "engine/quant/weight_format.h"
#include "tests/support/temp_dir.h"

namespace choir::engine {
namespace {

std::vector<float> Ramp(int64_t count, float scale) {
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = scale * static_cast<float>(static_cast<int>(i * 7919 % 101) - 50);
  }
  return values;
}

// y = x W^T with W f32, then back: dx = y W, both read by the host.
struct Product {
  static constexpr int64_t kTokens = 70;
  static constexpr int64_t kCols = 80;
  static constexpr int64_t kRows = 300;

  Graph graph;
  TensorId x = -1;
  TensorId w = -1;
  TensorId y = -1;
  TensorId dx = -1;

  Product() {
    x = graph.AddInput("x", F32(kTokens, kCols));
    w = graph.AddPersistent("w", Weight(&kF32Format, kRows, kCols));
    y = graph.AddNode("linear", {x, w}, {{"lora", 0}, {"lora_scale", 0}})->front();
    dx =
        graph
            .AddNode("linear_backward", {y, w}, {{"lora", 0}, {"lora_scale", 0}, {"accumulate", 0}})
            ->front();
    graph.MarkOutput(y);
    graph.MarkOutput(dx);
  }

  static std::vector<float> Input() { return Ramp(kTokens * kCols, 0.1f); }
  static std::vector<float> Weights() { return Ramp(kRows * kCols, 0.01f); }

  // dx in double precision.
  static std::vector<double> PlainLoops() {
    const std::vector<float> x_values = Input();
    const std::vector<float> weights = Weights();
    std::vector<double> result(static_cast<size_t>(kTokens * kCols));
    for (int64_t t = 0; t < kTokens; ++t) {
      for (int64_t n = 0; n < kRows; ++n) {
        const float* const row = &weights[static_cast<size_t>(n * kCols)];
        double sum = 0;
        for (int64_t c = 0; c < kCols; ++c) {
          sum += static_cast<double>(x_values[static_cast<size_t>(t * kCols + c)]) *
                 static_cast<double>(row[c]);
        }
        for (int64_t c = 0; c < kCols; ++c) {
          result[static_cast<size_t>(t * kCols + c)] += sum * static_cast<double>(row[c]);
        }
      }
    }
    return result;
  }

  // dx after each of `runs` runs.
  [[nodiscard]] std::vector<std::vector<float>> Run(Backend& backend, int runs) const {
    const std::vector<float> weights = Weights();
    const auto buffer = backend.WrapWeights(BytesOf(std::span(weights)));
    EXPECT_TRUE(buffer.ok()) << buffer.status().ToString();
    const auto made = backend.Compile(graph, {{w, {*buffer, 0}}}, {});
    EXPECT_TRUE(made.ok()) << made.status().ToString();
    const std::vector<float> input = Input();
    std::vector<std::vector<float>> results;
    for (int run = 0; run < runs; ++run) {
      EXPECT_TRUE((*made)->WriteInput(x, BytesOf(std::span(input))).ok());
      const absl::Status status = (*made)->Run();
      EXPECT_TRUE(status.ok()) << status.ToString();
      std::vector<float> out(static_cast<size_t>(kTokens * kCols));
      EXPECT_TRUE((*made)->ReadOutput(dx, MutableBytesOf(std::span(out))).ok());
      results.push_back(std::move(out));
    }
    return results;
  }
};

TEST(VulkanBackendTest, RunsOfOneProgramAreEqualBitForBit) {
  CHOIR_VULKAN_OR_SKIP(backend, (VulkanOptions{.validation = true}));
  const auto results = Product().Run(*backend, 3);
  EXPECT_EQ(results[0], results[1]);
  EXPECT_EQ(results[0], results[2]);
}

// The largest blocks of the product shaders, which the ops' example cases are too small for.
TEST(VulkanBackendTest, LargeProductsEqualPlainLoops) {
  CHOIR_VULKAN_OR_SKIP(backend, (VulkanOptions{.validation = true}));
  const auto got = Product().Run(*backend, 1)[0];
  const auto want = Product::PlainLoops();
  double largest = 0;
  for (const double value : want) largest = std::max(largest, std::abs(value));
  // f32 sums of 80, then of 300, products.
  for (size_t i = 0; i < want.size(); ++i) {
    ASSERT_NEAR(static_cast<double>(got[i]), want[i], 1e-5 * largest) << i;
  }
}

TEST(VulkanBackendTest, LargeFactorGradientsEqualPlainLoops) {
  CHOIR_VULKAN_OR_SKIP(backend, (VulkanOptions{.validation = true}));
  constexpr int64_t kTokens = 20;
  constexpr int64_t kM = 70;
  constexpr int64_t kN = 130;
  Graph graph;
  const TensorId p = graph.AddInput("p", F32(kTokens, kM));
  const TensorId q = graph.AddInput("q", F32(kTokens, kN));
  const TensorId d = graph.AddPersistent("d", F32(kM, kN));
  ASSERT_TRUE(graph.AddNode("lora_grad", {p, q}, {{"scale", 2}}, {d}).ok());
  const auto buffer = backend->Allocate(kM * kN * 4);
  ASSERT_TRUE(buffer.ok()) << buffer.status().ToString();
  const auto made = backend->Compile(graph, {{d, {*buffer, 0}}}, {});
  ASSERT_TRUE(made.ok()) << made.status().ToString();
  const std::vector<float> p_values = Ramp(kTokens * kM, 0.1f);
  const std::vector<float> q_values = Ramp(kTokens * kN, 0.1f);
  ASSERT_TRUE((*made)->WriteInput(p, BytesOf(std::span(p_values))).ok());
  ASSERT_TRUE((*made)->WriteInput(q, BytesOf(std::span(q_values))).ok());
  ASSERT_TRUE((*made)->Run().ok());
  std::vector<float> got(kM * kN);
  ASSERT_TRUE(backend->Read(**buffer, 0, MutableBytesOf(std::span(got))).ok());
  for (int64_t m = 0; m < kM; ++m) {
    for (int64_t n = 0; n < kN; ++n) {
      double want = 0;
      for (int64_t t = 0; t < kTokens; ++t) {
        want += 2 * static_cast<double>(p_values[static_cast<size_t>(t * kM + m)]) *
                static_cast<double>(q_values[static_cast<size_t>(t * kN + n)]);
      }
      // Twenty products of at most 25 each.
      ASSERT_NEAR(static_cast<double>(got[static_cast<size_t>(m * kN + n)]), want, 1e-3);
    }
  }
}

TEST(VulkanBackendTest, TilesAndSeveralAllocationsGiveTheSameWithinRounding) {
  CHOIR_VULKAN_OR_SKIP(whole, (VulkanOptions{.validation = true}));
  CHOIR_VULKAN_OR_SKIP(tiled, (VulkanOptions{.validation = true,
                                             .max_weight_binding_bytes = 4096,
                                             .max_weight_allocation_bytes = 10000}));
  const auto want = Product().Run(*whole, 1)[0];
  const auto got = Product().Run(*tiled, 1)[0];
  float largest = 0;
  for (const float value : want) largest = std::max(largest, std::abs(value));
  // The tiles change the order of 300 sums in f32.
  for (size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(got[i], want[i], 1e-5f * largest) << i;
}

// Submissions as short as a dispatch, and dispatches of 128 rows of W.
TEST(VulkanBackendTest, ShortSubmissionsGiveTheSameWithinRounding) {
  CHOIR_VULKAN_OR_SKIP(whole, (VulkanOptions{.validation = true}));
  CHOIR_VULKAN_OR_SKIP(cut, (VulkanOptions{.validation = true, .work_per_submission = 1}));
  const auto want = Product().Run(*whole, 1)[0];
  const auto got = Product().Run(*cut, 1)[0];
  float largest = 0;
  for (const float value : want) largest = std::max(largest, std::abs(value));
  // dx sums over 128 rows of W at a time.
  for (size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(got[i], want[i], 1e-5f * largest) << i;
}

TEST(VulkanBackendTest, AMemoryBudgetIsWhatThePlannerHears) {
  CHOIR_VULKAN_OR_SKIP(backend, (VulkanOptions{.memory_bytes = 12345}));
  EXPECT_EQ(backend->info().memory_bytes, 12345u);
}

TEST(VulkanBackendTest, AProfiledRunTellsATimeForEachNodeAndTheSameResult) {
  CHOIR_VULKAN_OR_SKIP(plain, (VulkanOptions{.validation = true}));
  CHOIR_VULKAN_OR_SKIP(profiled, (VulkanOptions{.validation = true, .profile = true}));
  const Product product;
  const std::vector<float> weights = Product::Weights();
  const auto buffer = profiled->WrapWeights(BytesOf(std::span(weights)));
  ASSERT_TRUE(buffer.ok()) << buffer.status().ToString();
  const auto made = profiled->Compile(product.graph, {{product.w, {*buffer, 0}}}, {});
  ASSERT_TRUE(made.ok()) << made.status().ToString();
  EXPECT_TRUE((*made)->LastRunTimes().empty());
  ASSERT_TRUE((*made)->Run().ok());
  const std::vector<NodeTime> times = (*made)->LastRunTimes();
  ASSERT_EQ(times.size(), product.graph.nodes().size());
  for (const NodeTime& time : times) EXPECT_GE(time.seconds, 0);
  EXPECT_GE(times[1].begin_s, times[0].begin_s);
  EXPECT_EQ(product.Run(*profiled, 1), product.Run(*plain, 1));
}

TEST(VulkanBackendTest, TheWorkspaceIsKnownBeforeAnythingIsAllocated) {
  for (const bool map : {true, false}) {
    CHOIR_VULKAN_OR_SKIP(backend, (VulkanOptions{.validation = true,
                                                 .max_weight_binding_bytes = 20000,
                                                 .max_weight_allocation_bytes = 40000,
                                                 .map_device_memory = map}));
    const Product product;
    const uint64_t before = backend->memory_use().now_bytes;
    const auto planned = backend->WorkspaceBytes(product.graph, {});
    ASSERT_TRUE(planned.ok()) << planned.status().ToString();
    EXPECT_EQ(backend->memory_use().now_bytes, before);
    const std::vector<float> weights = Product::Weights();
    const auto buffer = backend->WrapWeights(BytesOf(std::span(weights)));
    ASSERT_TRUE(buffer.ok()) << buffer.status().ToString();
    const auto made = backend->Compile(product.graph, {{product.w, {*buffer, 0}}}, {});
    ASSERT_TRUE(made.ok()) << made.status().ToString();
    EXPECT_EQ((*made)->memory_use().workspace_bytes, *planned);
    EXPECT_GT(*planned, 0);
  }
}

TEST(VulkanBackendTest, MemoryUseCountsBuffersWhileTheyLive) {
  CHOIR_VULKAN_OR_SKIP(backend, VulkanOptions{});
  const DeviceMemoryUse before = backend->memory_use();
  constexpr uint64_t kBytes = uint64_t{100} << 20;
  {
    const auto buffer = backend->Allocate(kBytes);
    ASSERT_TRUE(buffer.ok()) << buffer.status().ToString();
    EXPECT_GE(backend->memory_use().now_bytes, before.now_bytes + kBytes);
    EXPECT_LT(backend->memory_use().now_bytes, before.now_bytes + kBytes + (1 << 20));
  }
  EXPECT_EQ(backend->memory_use().now_bytes, before.now_bytes);
  EXPECT_GE(backend->memory_use().most_bytes, before.now_bytes + kBytes);
}

TEST(VulkanBackendTest, WeightsInSeveralAllocationsReadBackWhole) {
  CHOIR_VULKAN_OR_SKIP(backend, (VulkanOptions{.max_weight_allocation_bytes = 10000}));
  std::vector<uint8_t> bytes(45678);
  std::iota(bytes.begin(), bytes.end(), uint8_t{0});
  const auto buffer = backend->WrapWeights(bytes);
  ASSERT_TRUE(buffer.ok()) << buffer.status().ToString();
  std::vector<uint8_t> got(40000);
  ASSERT_TRUE(backend->Read(**buffer, 1234, got).ok());
  EXPECT_TRUE(std::equal(got.begin(), got.end(), bytes.begin() + 1234));
}

TEST(VulkanBackendTest, StagedBuffersStartAtZeroAndKeepWhatIsWritten) {
  CHOIR_VULKAN_OR_SKIP(backend, (VulkanOptions{.validation = true, .map_device_memory = false}));
  // More than one staging buffer holds.
  const auto buffer = backend->Allocate((8u << 20) + 100);
  ASSERT_TRUE(buffer.ok()) << buffer.status().ToString();
  std::vector<uint8_t> got((8u << 20) + 100, 1);
  ASSERT_TRUE(backend->Read(**buffer, 0, got).ok());
  EXPECT_EQ(std::accumulate(got.begin(), got.end(), 0), 0);
  std::vector<uint8_t> bytes((8u << 20) + 50);
  std::iota(bytes.begin(), bytes.end(), uint8_t{3});
  ASSERT_TRUE(backend->Write(**buffer, 20, bytes).ok());
  ASSERT_TRUE(backend->Read(**buffer, 0, got).ok());
  EXPECT_EQ(got[19], 0);
  EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), got.begin() + 20));
}

TEST(VulkanBackendTest, RangesOutsideABufferAreInvalidAndDoNotOverflow) {
  CHOIR_VULKAN_OR_SKIP(backend, VulkanOptions{});
  const auto buffer = backend->Allocate(64);
  ASSERT_TRUE(buffer.ok()) << buffer.status().ToString();
  std::vector<uint8_t> bytes(8);
  for (const uint64_t offset : {uint64_t{57}, uint64_t{65}, ~uint64_t{0}}) {
    EXPECT_EQ(backend->Read(**buffer, offset, bytes).code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(backend->Write(**buffer, offset, bytes).code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST(VulkanBackendTest, TooLargeAnAllocationSaysWhatWasAsked) {
  CHOIR_VULKAN_OR_SKIP(backend, VulkanOptions{});
  const auto buffer = backend->Allocate(uint64_t{1} << 60);
  ASSERT_EQ(buffer.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(buffer.status().message().find("1152921504606846976"), std::string_view::npos);
}

TEST(VulkanBackendTest, UnboundOrMisalignedTensorsAreNamed) {
  CHOIR_VULKAN_OR_SKIP(backend, VulkanOptions{});
  const Product product;
  const auto buffer = backend->Allocate(Product::kRows * Product::kCols * 4);
  ASSERT_TRUE(buffer.ok()) << buffer.status().ToString();
  for (const Binding& binding : {Binding{}, Binding{*buffer, 2}, Binding{*buffer, 4}}) {
    const auto made = backend->Compile(product.graph, {{product.w, binding}}, {});
    EXPECT_EQ(made.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(made.status().message().find("tensor w"), std::string_view::npos);
  }
}

TEST(VulkanBackendTest, WrongSizesAndTensorsOfInputAndOutputAreInvalid) {
  CHOIR_VULKAN_OR_SKIP(backend, VulkanOptions{});
  const Product product;
  const auto buffer = backend->Allocate(Product::kRows * Product::kCols * 4);
  const auto made = backend->Compile(product.graph, {{product.w, {*buffer, 0}}}, {});
  ASSERT_TRUE(made.ok()) << made.status().ToString();
  std::vector<uint8_t> bytes(16);
  EXPECT_EQ((*made)->WriteInput(product.x, bytes).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ((*made)->WriteInput(product.y, bytes).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ((*made)->ReadOutput(product.x, bytes).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ((*made)->ReadOutput(product.dx, bytes).code(), absl::StatusCode::kInvalidArgument);
}

TEST(VulkanBackendTest, ARowThatNoBindingHoldsIsAnErrorThatNamesTheNode) {
  CHOIR_VULKAN_OR_SKIP(backend, (VulkanOptions{.max_weight_binding_bytes = 128}));
  const Product product;
  const auto buffer = backend->Allocate(Product::kRows * Product::kCols * 4);
  const auto made = backend->Compile(product.graph, {{product.w, {*buffer, 0}}}, {});
  EXPECT_EQ(made.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(made.status().message().find("linear"), std::string_view::npos);
}

TEST(VulkanBackendTest, FormatsWithoutAShaderAreUnimplemented) {
  CHOIR_VULKAN_OR_SKIP(backend, VulkanOptions{});
  WeightFormat unknown = kF32Format;
  unknown.name = "Q9_9";
  Graph graph;
  const TensorId x = graph.AddInput("x", F32(2, 4));
  const TensorId w = graph.AddPersistent("w", Weight(&unknown, 4, 4));
  ASSERT_TRUE(graph.AddNode("linear", {x, w}, {{"lora", 0}, {"lora_scale", 0}}).ok());
  const absl::Status status = backend->Supports(graph, graph.nodes()[0]);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_NE(status.message().find("q9_9"), std::string_view::npos);
}

TEST(VulkanBackendTest, AnAbsentDeviceNumberIsNotFound) {
  CHOIR_VULKAN_OR_SKIP(backend, VulkanOptions{});
  const auto made = CreateVulkanBackend({.device_index = 1000});
  EXPECT_EQ(made.status().code(), absl::StatusCode::kNotFound);
}

TEST(VulkanBackendTest, ExecutablesAndBuffersOutliveTheBackend) {
  CHOIR_VULKAN_OR_SKIP(made, (VulkanOptions{.validation = true}));
  auto second = CreateVulkanBackend({.validation = true});
  ASSERT_TRUE(second.ok()) << second.status().ToString();
  const Product product;
  const auto buffer = (*second)->Allocate(Product::kRows * Product::kCols * 4);
  const auto executable = (*second)->Compile(product.graph, {{product.w, {*buffer, 0}}}, {});
  ASSERT_TRUE(executable.ok()) << executable.status().ToString();
  second->reset();
  const std::vector<float> input = Ramp(Product::kTokens * Product::kCols, 1);
  EXPECT_TRUE((*executable)->WriteInput(product.x, BytesOf(std::span(input))).ok());
  EXPECT_TRUE((*executable)->Run().ok());
}

TEST(VulkanBackendTest, TheLayersAreSilentToTheEnd) {
  const auto log = std::make_shared<vulkan::ValidationLog>();
  auto made = CreateVulkanBackend({}, log);
  if (!made.ok() && !VulkanRequired()) GTEST_SKIP() << made.status().message();
  ASSERT_TRUE(made.ok()) << made.status().ToString();
  EXPECT_EQ(Product().Run(**made, 2).size(), 2u);
  made->reset();
  EXPECT_TRUE(log->status().ok()) << log->status().ToString();
}

TEST(VulkanBackendTest, AMessageOfTheLayersFailsTheNextCall) {
  const auto log = std::make_shared<vulkan::ValidationLog>();
  const auto made = CreateVulkanBackend({}, log);
  if (!made.ok() && !VulkanRequired()) GTEST_SKIP() << made.status().message();
  ASSERT_TRUE(made.ok()) << made.status().ToString();
  const auto buffer = (*made)->Allocate(16);
  ASSERT_TRUE(buffer.ok()) << buffer.status().ToString();
  log->Add("VUID-something");
  const absl::Status status = (*made)->Write(**buffer, 0, std::vector<uint8_t>(4));
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_NE(status.message().find("VUID-something"), std::string_view::npos);
}

TEST(VulkanBackendTest, PipelinesAreKeptInTheFolder) {
  const TempDir dir;
  const std::string cache = dir.path() + "/pipelines";
  for (int start = 0; start < 2; ++start) {
    CHOIR_VULKAN_OR_SKIP(backend, (VulkanOptions{.validation = true, .pipeline_cache_dir = cache}));
    EXPECT_EQ(Product().Run(*backend, 1).size(), 1u);
  }
  ASSERT_TRUE(std::filesystem::is_directory(cache));
  EXPECT_FALSE(std::filesystem::is_empty(cache));
}

TEST(VulkanBackendTest, EveryListedDeviceSaysWhatItIs) {
  for (const DeviceInfo& info : ListVulkanDevices()) {
    EXPECT_EQ(info.backend, "vulkan");
    EXPECT_FALSE(info.name.empty());
    EXPECT_GT(info.memory_bytes, 0u);
    EXPECT_GT(info.max_buffer_range_bytes, 0u);
  }
}

}  // namespace
}  // namespace choir::engine
