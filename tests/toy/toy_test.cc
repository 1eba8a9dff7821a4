// The promise of docs/architecture.md, "the cost of a change": a model architecture is one file and
// one line; a weight format is one file, one block of GLSL and one line.

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "engine/backend/conformance.h"
#include "engine/backend/reference_backend.h"
#include "engine/backend/registry.h"
#include "engine/convert/quantize_model.h"
#include "engine/infer/logits.h"
#include "engine/model/architecture.h"
#include "engine/quant/weight_format.h"
#include "engine/train/gradients.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_llama_builder.h"

namespace choir::engine {
namespace {

using ::testing::HasSubstr;

TEST(ToyTest, CostsTheFilesThatThePromiseNames) {
  const std::filesystem::path root = "tests/toy/engine";
  std::set<std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
    if (entry.is_regular_file()) files.insert(entry.path().lexically_relative(root).string());
  }
  const std::set<std::string> promised = {"backend/vulkan/shaders/quant/toy8/quant_block.glsl",
                                          "model/architectures.def", "model/toy.cc",
                                          "quant/formats.def", "quant/toy8.cc"};
  EXPECT_EQ(files, promised);
  for (const char* table : {"model/architectures.def", "quant/formats.def"}) {
    const std::string lines = *ReadFile((root / table).string(), 1 << 10);
    EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 1) << table;
  }
}

TEST(ToyTest, FormatIsKnownByNameAndType) {
  ASSERT_NE(FindWeightFormat("TOY8"), nullptr);
  EXPECT_EQ(FindWeightFormat(FindWeightFormat("TOY8")->type_id), FindWeightFormat("TOY8"));
  EXPECT_THAT(FindArchitecture("nonsense").status().ToString(), HasSubstr("toy"));
}

// A two-layer model of the toy architecture, its matrices in the toy format.
class ToyModelTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    BackendOptions options;
    options.validation = true;
    auto backend = CreateBackend(GetParam(), options);
    if (!backend.ok()) GTEST_SKIP() << backend.status();
    backend_ = *std::move(backend);
    TinyLlamaBuilder builder;
    builder.architecture = "toy";
    builder.channels = 32;
    builder.feed_forward = 64;
    builder.left_out = {"blk.0.ffn_norm.weight", "blk.1.ffn_norm.weight"};
    const std::string bytes = builder.Build();
    const auto file = GgufFile::Parse(AsBytes(bytes));
    ASSERT_TRUE(file.ok()) << file.status();
    const std::string path = dir_.path() + "/toy.gguf";
    const auto report = QuantizeModel(*file, path, {.format = FindWeightFormat("TOY8")}, nullptr);
    ASSERT_TRUE(report.ok()) << report.status();
    auto model = Model::Open(path);
    ASSERT_TRUE(model.ok()) << model.status();
    model_ = std::make_unique<Model>(*std::move(model));
    ids_.resize(11);
    std::iota(ids_.begin(), ids_.end(), 50);
  }

  [[nodiscard]] std::vector<float> Logits(Backend& backend) const {
    const auto weights = DeviceModel::Load(backend, *model_);
    EXPECT_TRUE(weights.ok()) << weights.status();
    const auto logits = ComputeLogits(*model_, backend, *weights, nullptr, ids_, Compute::kF32);
    EXPECT_TRUE(logits.ok()) << logits.status();
    return *logits;
  }

  [[nodiscard]] LossAndGradients Gradients(Backend& backend, const Adapter& adapter) const {
    const std::vector<float> weights(ids_.size() - 1, 1.0f);
    const auto result = ComputeGradients(*model_, backend, *DeviceModel::Load(backend, *model_),
                                         adapter, ids_, weights, Compute::kF32);
    EXPECT_TRUE(result.ok()) << result.status();
    return *result;
  }

  TempDir dir_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Model> model_;
  std::vector<int32_t> ids_;
};

INSTANTIATE_TEST_SUITE_P(Backends, ToyModelTest, ::testing::Values("cpu", "vulkan"),
                         [](const auto& test) { return std::string(test.param); });

// Every op's cases in the toy format: values, and gradients against finite differences.
TEST_P(ToyModelTest, OpsConformInTheFormat) {
  RunOpConformance(*backend_, {.only_format = FindWeightFormat("TOY8")});
}

TEST_P(ToyModelTest, LogitsAreThoseOfTheReference) {
  EXPECT_EQ((*model_->file().GetTensor("blk.1.ffn_up.weight"))->type,
            FindWeightFormat("TOY8")->type_id);
  const std::vector<float> got = Logits(*backend_);
  const std::vector<float> want = Logits(*CreateReferenceBackend());
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(got[i], want[i], 1e-3) << i;
}

TEST_P(ToyModelTest, GradientsMatchFiniteDifferences) {
  LoraConfig config{.rank = 2, .alpha = 4.0f};
  Adapter adapter = *InitAdapter(config, model_->LoraTargets(), "toy", 3);
  for (LoraPair& pair : adapter.pairs) {
    for (size_t i = 0; i < pair.b.size(); ++i) pair.b[i] = i % 3 == 0 ? 0.1f : -0.05f;
  }
  const LossAndGradients result = Gradients(*backend_, adapter);
  // Of a loss near 5 in f32: its rounding over twice the step is 3e-5, and f''' h^2 / 6 less.
  constexpr float kStep = 1e-2f;
  for (size_t p = 0; p < adapter.pairs.size(); ++p) {
    for (std::vector<float> LoraPair::*factor : {&LoraPair::a, &LoraPair::b}) {
      const std::vector<float>& gradient = result.gradients.pairs[p].*factor;
      const auto largest = std::max_element(gradient.begin(), gradient.end(), [](float x, float y) {
        return std::abs(x) < std::abs(y);
      });
      Adapter moved = adapter;
      float& value = (moved.pairs[p].*factor)[static_cast<size_t>(largest - gradient.begin())];
      const float at = value;
      value = at + kStep;
      const double above = Gradients(*backend_, moved).loss;
      value = at - kStep;
      const double below = Gradients(*backend_, moved).loss;
      EXPECT_NEAR(static_cast<double>(*largest), (above - below) / (2 * static_cast<double>(kStep)),
                  5e-4 + 0.01 * static_cast<double>(std::abs(*largest)))
          << adapter.pairs[p].name;
    }
  }
}

}  // namespace
}  // namespace choir::engine
