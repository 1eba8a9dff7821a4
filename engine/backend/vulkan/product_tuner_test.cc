#include "engine/backend/vulkan/product_tuner.h"

#include <filesystem>
#include <limits>
#include <map>
#include <optional>

#include <gtest/gtest.h>

#include "base/file.h"
#include "engine/backend/vulkan/vulkan_test_device.h"
#include "engine/quant/weight_format.h"
#include "tests/support/temp_dir.h"

namespace choir::engine::vulkan {
namespace {

constexpr Choice kPlain{ProductWay::kPlain, {8, 8}};
constexpr Choice kSmall{ProductWay::kPlain, {4, 4}};
constexpr Choice kHalf{ProductWay::kHalf, {8, 8}};
constexpr Choice kMatrix{ProductWay::kMatrix, {1, 1}};
constexpr Choice kAll[] = {kPlain, kSmall, kHalf, kMatrix};

// A device whose times and faults are the test's.
class FakeTrials final : public ProductTuner::Trials {
 public:
  std::map<Choice, double> seconds = {{kPlain, 1}, {kSmall, 2}, {kHalf, 0.5}, {kMatrix, 0.1}};
  std::map<Choice, double> differences;  // 0 where nothing stands
  std::optional<absl::Status> fault;     // of every comparison
  int comparisons = 0;
  int runs = 0;

  absl::StatusOr<double> Seconds(const Choice& choice) override {
    ++runs;
    return seconds.at(choice);
  }
  absl::StatusOr<double> Difference(const Choice& choice) override {
    ++comparisons;
    if (fault) return *fault;
    return differences[choice];
  }
};

ProductClass AnyClass() {
  return ProductClass::Of("matmul_nt.q8_0", false, 512, 1024);
}

class ProductTunerTest : public testing::Test {
 protected:
  [[nodiscard]] std::string Path() const { return dir_.path() + "/new/device.tuning"; }
  [[nodiscard]] ProductTuner Open(std::optional<ProductWay> wanted = std::nullopt) const {
    return {Path(), "v", wanted};
  }

  TempDir dir_;
  FakeTrials trials_;
};

TEST_F(ProductTunerTest, TakesTheFastest) {
  EXPECT_EQ(Open().Fastest(AnyClass(), kAll, trials_), kMatrix);
  EXPECT_EQ(trials_.runs, 4);
  EXPECT_EQ(trials_.comparisons, 2);
}

TEST_F(ProductTunerTest, AWayThatDiffersIsNeverTimedNorTaken) {
  trials_.differences[kMatrix] = 0.01;
  trials_.differences[kHalf] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(Open().Fastest(AnyClass(), kAll, trials_), kPlain);
  EXPECT_EQ(trials_.runs, 2);
}

TEST_F(ProductTunerTest, AWayThatFailsIsNotTaken) {
  trials_.fault = absl::InternalError("the driver cannot compile it");
  EXPECT_EQ(Open().Fastest(AnyClass(), kAll, trials_), kPlain);
}

TEST_F(ProductTunerTest, WhatIsNotClearlyFasterIsNotTaken) {
  trials_.seconds = {{kPlain, 1}, {kSmall, 0.99}, {kHalf, 0.97}, {kMatrix, 2}};
  EXPECT_EQ(Open().Fastest(AnyClass(), kAll, trials_), kPlain);
}

TEST_F(ProductTunerTest, ANewProcessBelievesTheFile) {
  trials_.differences[kMatrix] = 1;
  Choice first;
  {
    ProductTuner tuner = Open();
    first = tuner.Fastest(AnyClass(), kAll, trials_);
    ASSERT_TRUE(tuner.Save().ok());
  }
  EXPECT_EQ(first, kHalf);
  FakeTrials none;
  EXPECT_EQ(Open().Fastest(AnyClass(), kAll, none), kHalf);
  EXPECT_EQ(none.runs + none.comparisons, 0);
  // Another class of sizes: measured, but what was wrong stays so.
  FakeTrials other;
  EXPECT_EQ(Open().Fastest(ProductClass::Of("matmul_nt.q8_0", false, 64, 64), kAll, other), kHalf);
  EXPECT_EQ(other.comparisons, 0);
}

TEST_F(ProductTunerTest, TheFileOfOtherShadersIsNotBelieved) {
  {
    ProductTuner tuner = Open();
    static_cast<void>(tuner.Fastest(AnyClass(), kAll, trials_));
    ASSERT_TRUE(tuner.Save().ok());
  }
  FakeTrials again;
  ProductTuner tuner(Path(), "another", std::nullopt);
  static_cast<void>(tuner.Fastest(AnyClass(), kAll, again));
  EXPECT_EQ(again.comparisons, 2);
}

// What a driver that takes the process with it leaves behind.
class LeavesTheFile final : public ProductTuner::Trials {
 public:
  explicit LeavesTheFile(std::string path) : path_(std::move(path)) {}
  std::string at_comparison;

  absl::StatusOr<double> Seconds(const Choice&) override { return 1; }
  absl::StatusOr<double> Difference(const Choice&) override {
    at_comparison = ReadFile(path_, 1 << 20).value_or("");
    return 0;
  }

 private:
  std::string path_;
};

TEST_F(ProductTunerTest, AWayAtWhichAProcessEndedIsNotTriedAgain) {
  LeavesTheFile dying(Path());
  static_cast<void>(Open().Fastest(AnyClass(), {{kPlain, kHalf}}, dying));
  ASSERT_TRUE(AtomicWriteFile(Path(), dying.at_comparison).ok());
  EXPECT_EQ(Open().Fastest(AnyClass(), {{kPlain, kHalf}}, trials_), kPlain);
  EXPECT_EQ(trials_.comparisons, 0);
}

TEST_F(ProductTunerTest, AWayWithoutMemoryToTryItIsTriedAgainLater) {
  trials_.fault = absl::ResourceExhaustedError("too large to try");
  ProductTuner tuner = Open();
  EXPECT_EQ(tuner.Fastest(AnyClass(), {{kPlain, kHalf}}, trials_), kPlain);
  trials_.fault.reset();
  EXPECT_EQ(
      tuner.Fastest(ProductClass::Of("matmul_nt.q8_0", false, 9, 9), {{kPlain, kHalf}}, trials_),
      kHalf);
}

TEST_F(ProductTunerTest, AWantedWayIsTakenIfItIsRightHoweverSlow) {
  trials_.seconds[kHalf] = 100;
  EXPECT_EQ(Open(ProductWay::kHalf).Fastest(AnyClass(), kAll, trials_), kHalf);
  FakeTrials wrong;
  wrong.differences[kHalf] = 1;
  ProductTuner tuner("", "v", ProductWay::kHalf);
  EXPECT_EQ(tuner.Fastest(AnyClass(), kAll, wrong), kPlain);
}

// Through the backend, with the shaders for GPUs: those for devices that are a CPU have no choices.

// Large enough to be tried (products.cc).
constexpr int64_t kTokens = 70;
constexpr int64_t kSize = 1024;

VulkanOptions WithCache(const std::string& dir) {
  return {.validation = true, .pipeline_cache_dir = dir, .lanes_on_software = false};
}

// dx = (x W^T) W.
std::vector<float> RunProducts(Backend& backend, Compute compute) {
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
  const auto made = backend.Compile(graph, {{w, {*buffer, 0}}}, {.compute = compute});
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
    if (entry.path().extension() == ".tuning") return entry.path();
  }
  return {};
}

ProductClass ExactClass(const char* shader) {
  return ProductClass::Of(shader, true, kTokens, kSize);
}

// Both products as if `block` had been measured for the one, 4 x 4 for the other.
absl::Status WriteChoices(const std::string& file, Block block) {
  TuningTable table;
  table.Set(ExactClass("matmul_nt.f32"), {ProductWay::kPlain, block});
  table.Set(ExactClass("matmul_nn.f32"), {ProductWay::kPlain, {4, 4}});
  return AtomicWriteFile(file, table.ToText(ShaderVersion()));
}

TEST(ProductTunerBackendTest, ChoicesAreKeptAndEveryPlainBlockGivesTheSameBits) {
  const TempDir dir;
  std::vector<float> want;
  {
    CHOIR_VULKAN_OR_SKIP(backend, WithCache(dir.path()));
    want = RunProducts(*backend, Compute::kF32);
  }
  const std::string file = TuningFile(dir.path());
  ASSERT_FALSE(file.empty());
  EXPECT_TRUE(ReadTuning(file).Find(ExactClass("matmul_nt.f32")).has_value());
  EXPECT_TRUE(ReadTuning(file).Find(ExactClass("matmul_nn.f32")).has_value());
  // The last of them this build does not know: it is measured again, not believed.
  constexpr Block kStrange{3, 5};
  for (const Block block : {Block{4, 4}, {8, 8}, {4, 8}, {8, 4}, kStrange}) {
    SCOPED_TRACE(testing::Message() << block.m << " x " << block.n);
    ASSERT_TRUE(WriteChoices(file, block).ok());
    CHOIR_VULKAN_OR_SKIP(backend, WithCache(dir.path()));
    EXPECT_EQ(RunProducts(*backend, Compute::kF32), want);
  }
  const auto again = ReadTuning(file).Find(ExactClass("matmul_nt.f32"));
  ASSERT_TRUE(again.has_value());
  EXPECT_NE(again->block, kStrange);
}

// On this device fp16 may be slow: what matters is that it was compared, and found right.
TEST(ProductTunerBackendTest, WhereF32IsNotAskedForOtherWaysAreComparedAndTimed) {
  const TempDir dir;
  {
    CHOIR_VULKAN_OR_SKIP(backend, WithCache(dir.path()));
    const auto features = backend->info().features;
    if (std::find(features.begin(), features.end(), "fp16") == features.end()) {
      GTEST_SKIP() << "this device has no fp16 arithmetic";
    }
    EXPECT_EQ(RunProducts(*backend, Compute::kAuto).size(), size_t{kTokens * kSize});
  }
  const TuningTable table = ReadTuning(TuningFile(dir.path()));
  for (const char* shader : {"matmul_nt.f32", "matmul_nn.f32"}) {
    SCOPED_TRACE(shader);
    EXPECT_EQ(table.Checked(shader, kHalf), Verdict::kRight);
    EXPECT_EQ(table.Checked(shader, {ProductWay::kHalf, {4, 4}}), Verdict::kRight);
    EXPECT_TRUE(table.Find(ProductClass::Of(shader, false, kTokens, kSize)).has_value());
    EXPECT_FALSE(table.Find(ExactClass(shader)).has_value());
  }
}

// 68 MiB of weights, more than products may take while they are tried.
TEST(ProductTunerBackendTest, OfALargeWeightSomeRowsAreTimed) {
  constexpr int64_t kRows = 65536;
  const TempDir dir;
  {
    VulkanOptions options = WithCache(dir.path());
    options.work_per_submission = 1e12;  // one tile of them all
    CHOIR_VULKAN_OR_SKIP(backend, options);
    const auto features = backend->info().features;
    if (std::find(features.begin(), features.end(), "int8 dot product") == features.end()) {
      GTEST_SKIP() << "this device has no integer dot products";
    }
    Graph graph;
    const TensorId x = graph.AddInput("x", F32(1, kSize));
    const TensorId w = graph.AddPersistent("w", Weight(&kQ8_0Format, kRows, kSize));
    const auto y = graph.AddNode("linear", {x, w}, {{"lora", 0}, {"lora_scale", 0}});
    ASSERT_TRUE(y.ok()) << y.status().ToString();
    graph.MarkOutput(y->front());
    const auto bytes = static_cast<uint64_t>(SizeBytes(graph.tensor(w).desc));
    const auto buffer = backend->Allocate(bytes);
    ASSERT_TRUE(buffer.ok()) << buffer.status().ToString();
    const auto made = backend->Compile(graph, {{w, {*buffer, 0}}}, {});
    ASSERT_TRUE(made.ok()) << made.status().ToString();
  }
  const TuningTable table = ReadTuning(TuningFile(dir.path()));
  EXPECT_TRUE(table.Find(ProductClass::Of("matvec.q8_0", false, 1, kRows)).has_value());
}

}  // namespace
}  // namespace choir::engine::vulkan
