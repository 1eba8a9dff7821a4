// Adapters of the two matrices over the vocabulary, output and token_embd, from end to end.

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "base/random.h"
#include "engine/backend/registry.h"
#include "engine/infer/generator.h"
#include "engine/infer/logits.h"
#include "engine/infer/sampler.h"
#include "engine/lora/merge.h"
#include "engine/model/model_plan.h"
#include "engine/train/gradients.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_llama_builder.h"
#include "tests/support/vocabulary_builder.h"

namespace choir::engine {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kContext = 48;

class VocabularyLoraTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    auto backend = CreateBackend(GetParam(), BackendOptions{});
    if (!backend.ok()) GTEST_SKIP() << backend.status();
    backend_ = *std::move(backend);
    TinyLlamaBuilder builder;
    builder.dims["output.weight"] = {builder.channels, VocabularyBuilder().tokens.size()};
    model_ = Open("base.gguf", builder.Build());
    LoraConfig config{.rank = 3, .alpha = 2.0f};
    config.modules = *LoraModuleSet::Parse("output,token_embd,attn_q");
    auto adapter = InitAdapter(config, model_->LoraTargets(), "llama", 4);
    ASSERT_TRUE(adapter.ok()) << adapter.status();
    adapter_ = *std::move(adapter);
    SeededRng rng(6);
    for (LoraPair& pair : adapter_.pairs) {
      for (float& v : pair.b) v = static_cast<float>(0.3 * rng.NextNormal());
    }
    ids_.resize(20);
    std::iota(ids_.begin(), ids_.end(), 40);
    ids_[7] = ids_[2];  // an id that comes twice
    ids_[19] = ids_[2];
  }

  std::unique_ptr<Model> Open(const std::string& name, const std::string& bytes) {
    const std::string path = dir_.path() + "/" + name;
    EXPECT_TRUE(AtomicWriteFile(path, bytes).ok());
    auto model = Model::Open(path);
    EXPECT_TRUE(model.ok()) << model.status();
    return std::make_unique<Model>(*std::move(model));
  }

  // The base model with the adapter in it.
  std::unique_ptr<Model> Merged() {
    const std::string path = dir_.path() + "/merged.gguf";
    EXPECT_TRUE(MergeIntoModel(model_->file(), adapter_, nullptr, path).ok());
    auto model = Model::Open(path);
    EXPECT_TRUE(model.ok()) << model.status();
    return std::make_unique<Model>(*std::move(model));
  }

  [[nodiscard]] DeviceModel Load(const Model& model) {
    return *DeviceModel::Load(*backend_, model);
  }
  [[nodiscard]] DeviceAdapter OnDevice() {
    auto adapter = DeviceAdapter::Create(*backend_, LayoutOf(adapter_), false);
    EXPECT_TRUE(adapter->Write(AdapterPart::kParameters, Flatten(adapter_)).ok());
    return *std::move(adapter);
  }

  // Some tokens do not count.
  [[nodiscard]] LossAndGradients Gradients(const Adapter& adapter) {
    std::vector<float> weights(ids_.size() - 1, 1.0f);
    weights[0] = weights[9] = 0.0f;
    weights[4] = 0.5f;
    auto result =
        ComputeGradients(*model_, *backend_, Load(*model_), adapter, ids_, weights, Compute::kF32);
    EXPECT_TRUE(result.ok()) << result.status();
    return *std::move(result);
  }

  TempDir dir_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Model> model_;
  Adapter adapter_;
  std::vector<int32_t> ids_;
};

INSTANTIATE_TEST_SUITE_P(Backends, VocabularyLoraTest, ::testing::Values("cpu", "vulkan"),
                         [](const auto& test) { return std::string(test.param); });

TEST_P(VocabularyLoraTest, LogitsAreThoseOfTheMergedModel) {
  const DeviceAdapter adapter = OnDevice();
  const auto got = ComputeLogits(*model_, *backend_, Load(*model_), &adapter, ids_, Compute::kF32);
  const std::unique_ptr<Model> merged = Merged();
  const auto want = ComputeLogits(*merged, *backend_, Load(*merged), nullptr, ids_, Compute::kF32);
  const auto base = ComputeLogits(*model_, *backend_, Load(*model_), nullptr, ids_, Compute::kF32);
  ASSERT_TRUE(got.ok() && want.ok() && base.ok()) << got.status();
  float changed = 0;
  for (size_t i = 0; i < want->size(); ++i) {
    EXPECT_NEAR((*got)[i], (*want)[i], 1e-4) << i;  // sums of f32 in another order
    changed = std::max(changed, std::abs((*got)[i] - (*base)[i]));
  }
  EXPECT_GT(changed, 0.5f);
}

TEST_P(VocabularyLoraTest, TextIsThatOfTheMergedModel) {
  const CachedModelOptions options{.context_tokens = kContext, .prompt_tokens = 8};
  const GenerateOptions limits{.max_new_tokens = 16, .stop_at_end = false};
  GreedySampler greedy;
  const DeviceAdapter adapter = OnDevice();
  const DeviceModel weights = Load(*model_);
  auto with = Generator::Create(*model_, *backend_, weights, &adapter, options);
  ASSERT_TRUE(with.ok()) << with.status();
  const auto got = with->Generate(ids_, greedy, limits, nullptr);
  const std::unique_ptr<Model> merged = Merged();
  const DeviceModel merged_weights = Load(*merged);
  auto without = Generator::Create(*merged, *backend_, merged_weights, nullptr, options);
  ASSERT_TRUE(without.ok()) << without.status();
  const auto want = without->Generate(ids_, greedy, limits, nullptr);
  ASSERT_TRUE(got.ok() && want.ok()) << got.status() << want.status();
  EXPECT_EQ(got->ids, want->ids);
}

TEST_P(VocabularyLoraTest, GradientsMatchFiniteDifferences) {
  const LossAndGradients result = Gradients(adapter_);
  // Of a loss near 5 in f32: its rounding over twice the step is 3e-5, and f''' h^2 / 6 less.
  constexpr float kStep = 1e-2f;
  for (size_t p = 0; p < adapter_.pairs.size(); ++p) {
    const std::string& name = adapter_.pairs[p].name;
    for (std::vector<float> LoraPair::*factor : {&LoraPair::a, &LoraPair::b}) {
      const std::vector<float>& gradient = result.gradients.pairs[p].*factor;
      // The largest one, one of the token that comes three times, and two others.
      const auto largest = std::max_element(gradient.begin(), gradient.end(), [](float x, float y) {
        return std::abs(x) < std::abs(y);
      });
      const auto repeated = static_cast<size_t>(ids_[2]) * 3 % gradient.size();
      for (const size_t element : {static_cast<size_t>(largest - gradient.begin()), repeated,
                                   gradient.size() / 2, gradient.size() - 1}) {
        Adapter moved = adapter_;
        float& value = (moved.pairs[p].*factor)[element];
        const float at = value;
        value = at + kStep;
        const double above = Gradients(moved).loss;
        value = at - kStep;
        const double below = Gradients(moved).loss;
        EXPECT_NEAR(static_cast<double>(gradient[element]),
                    (above - below) / (2 * static_cast<double>(kStep)), 3e-4)
            << name << (factor == &LoraPair::a ? ".a " : ".b ") << element;
      }
      EXPECT_GT(std::abs(*largest), 5e-3f) << name;
    }
  }
}

TEST_P(VocabularyLoraTest, PlanNeverHoldsAllLogits) {
  constexpr int64_t kTokens = 32;
  const auto plan =
      PlanForTraining(*model_, LayoutOf(adapter_), {.tokens = kTokens, .dropout = 0.1});
  Adapter projection = adapter_;
  projection.pairs.resize(1);
  const auto plain = PlanForTraining(*model_, LayoutOf(projection), {.tokens = kTokens});
  ASSERT_TRUE(plan.ok() && plain.ok()) << plan.status();
  const auto logits = static_cast<uint64_t>(kTokens * model_->spec().vocabulary) * sizeof(float);
  EXPECT_LT(plan->arena_bytes, plain->arena_bytes + logits / 2);
  // Parameters, gradients and moments, and the gradient's norm.
  EXPECT_EQ(plan->adapter_bytes, (adapter_.ParameterCount() * 4 + 1) * sizeof(float));
}

// One matrix serves twice: PEFT changes the lookup only, llama.cpp neither.
TEST_P(VocabularyLoraTest, TiedModelRefusesBothAndSaysWhy) {
  const std::unique_ptr<Model> tied = Open("tied.gguf", TinyLlamaBuilder().Build());
  for (const char* module : {"output", "token_embd"}) {
    LoraConfig config;
    config.modules = *LoraModuleSet::Parse(module);
    const auto fresh = InitAdapter(config, tied->LoraTargets(), "llama", 1);
    EXPECT_EQ(fresh.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(fresh.status().ToString(), HasSubstr("tied to token_embd.weight"));
  }
  EXPECT_THAT(CheckAdapterFits(adapter_, tied->LoraTargets()).ToString(),
              HasSubstr("serves twice"));
  EXPECT_THAT(MergeIntoModel(tied->file(), adapter_, nullptr, dir_.path() + "/no.gguf").ToString(),
              HasSubstr("serves twice"));
}

}  // namespace
}  // namespace choir::engine
