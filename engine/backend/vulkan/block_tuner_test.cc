// Tuning through the backend, with the shaders for GPUs: those for devices that are a CPU have
// none.

#include <filesystem>
#include <optional>

#include <gtest/gtest.h>

#include "base/file.h"
#include "engine/backend/vulkan/tuning_table.h"
#include "engine/backend/vulkan/vulkan_test_device.h"
#include "engine/quant/weight_format.h"
#include "tests/support/temp_dir.h"

namespace choir::engine {
namespace {

// Large enough to be tried (products.cc).
constexpr int64_t kTokens = 70;
constexpr int64_t kSize = 1024;

VulkanOptions WithCache(const std::string& dir) {
  return {.validation = true, .pipeline_cache_dir = dir, .lanes_on_software = false};
}

// dx = (x W^T) W.
std::vector<float> RunProducts(Backend& backend) {
  Graph graph;
  const TensorId x = graph.AddInput("x", F32(kTokens, kSize));
  const TensorId w = graph.AddPersistent("w", Weight(&kF32Format, kSize, kSize));
  const Attrs forward = {{"lora", 0}, {"lora_scale", 0}};
  const TensorId y = graph.AddNode("linear", {x, w}, forward)->front();
  const Attrs back = {{"lora", 0}, {"lora_scale", 0}, {"accumulate", 0}};
  const TensorId dx = graph.AddNode("linear_backward", {y, w}, back)->front();
  graph.MarkOutput(dx);
  std::vector<float> weights(kSize * kSize);
  for (size_t i = 0; i < weights.size(); ++i) weights[i] = static_cast<float>(i * 7919 % 101) - 50;
  const auto buffer = backend.WrapWeights(BytesOf(std::span<const float>(weights)));
  EXPECT_TRUE(buffer.ok()) << buffer.status().ToString();
  const auto made = backend.Compile(graph, {{w, {*buffer, 0}}}, {});
  EXPECT_TRUE(made.ok()) << made.status().ToString();
  const std::span<const float> input = std::span<const float>(weights).first(kTokens * kSize);
  EXPECT_TRUE((*made)->WriteInput(x, BytesOf(input)).ok());
  const absl::Status status = (*made)->Run();
  EXPECT_TRUE(status.ok()) << status.ToString();
  std::vector<float> result(kTokens * kSize);
  EXPECT_TRUE((*made)->ReadOutput(dx, MutableBytesOf(std::span(result))).ok());
  return result;
}

// The file that the backend wrote beside its pipelines.
std::string TuningFile(const std::string& dir) {
  for (const auto& entry : std::filesystem::directory_iterator(dir)) {
    if (entry.path().extension() == ".blocks") return entry.path();
  }
  return {};
}

vulkan::ProductClass ClassOf(const char* shader) {
  return vulkan::ProductClass::Of(shader, kTokens, kSize);
}

// Both products as if `block` had been measured for the one, 4 x 4 for the other.
absl::Status WriteChoices(const std::string& file, vulkan::Block block) {
  vulkan::TuningTable table;
  table.Set(ClassOf("matmul_nt.f32"), block);
  table.Set(ClassOf("matmul_nn.f32"), {4, 4});
  return AtomicWriteFile(file, table.ToText());
}

std::optional<vulkan::Block> ReadChoice(const std::string& file, const char* shader) {
  const auto text = ReadFile(file, 1 << 20);
  EXPECT_TRUE(text.ok()) << text.status().ToString();
  return vulkan::TuningTable::FromText(text.value_or("")).Find(ClassOf(shader));
}

TEST(BlockTunerTest, ChoicesAreKeptAndEveryBlockGivesTheSameBits) {
  const TempDir dir;
  std::vector<float> want;
  {
    CHOIR_VULKAN_OR_SKIP(backend, WithCache(dir.path()));
    want = RunProducts(*backend);
  }
  const std::string file = TuningFile(dir.path());
  ASSERT_FALSE(file.empty());
  EXPECT_TRUE(ReadChoice(file, "matmul_nt.f32").has_value());
  EXPECT_TRUE(ReadChoice(file, "matmul_nn.f32").has_value());
  // The last of them this build does not know: it is measured again, not believed.
  constexpr vulkan::Block kStrange{3, 5};
  for (const vulkan::Block block : {vulkan::Block{4, 4}, {8, 8}, {4, 8}, {8, 4}, kStrange}) {
    SCOPED_TRACE(testing::Message() << block.m << " x " << block.n);
    ASSERT_TRUE(WriteChoices(file, block).ok());
    CHOIR_VULKAN_OR_SKIP(backend, WithCache(dir.path()));
    EXPECT_EQ(RunProducts(*backend), want);
  }
  const auto again = ReadChoice(file, "matmul_nt.f32");
  ASSERT_TRUE(again.has_value());
  EXPECT_NE(*again, kStrange);
}

}  // namespace
}  // namespace choir::engine
