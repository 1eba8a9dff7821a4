// The engine against the stored references: logits, greedy text, loss, gradients, AdamW steps, each
// on every backend that this machine has.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "engine/backend/registry.h"
#include "engine/infer/evaluator.h"
#include "engine/infer/generator.h"
#include "engine/infer/logits.h"
#include "engine/lora/gguf_adapter.h"
#include "engine/train/gradients.h"
#include "engine/train/trainer.h"
#include "tests/support/test_data.h"
#include <nlohmann/json.hpp>

namespace choir::engine {
namespace {

// The references are f64. Measured in f32: logits within 1.4e-5, losses within 1e-5. The tolerances
// are those that the project promises, for any device's order of summation.
constexpr double kLogitTolerance = 1e-3;
constexpr double kRelativeGradientTolerance = 1e-3;
constexpr double kLossTolerance = 1e-3;

bool HasDevice(std::string_view backend) {
  const std::vector<DeviceInfo> devices = ListDevices();
  return std::any_of(devices.begin(), devices.end(),
                     [backend](const DeviceInfo& device) { return device.backend == backend; });
}

nlohmann::json ReadJson(const std::string& path) {
  const absl::StatusOr<std::string> text = ReadFile(path, uint64_t{64} << 20);
  EXPECT_TRUE(text.ok()) << text.status();
  return nlohmann::json::parse(text.value_or("null"));
}

std::vector<float> ReadFloats(const std::string& path) {
  const absl::StatusOr<std::string> bytes = ReadFile(path, uint64_t{64} << 20);
  EXPECT_TRUE(bytes.ok()) << bytes.status();
  std::vector<float> values(bytes->size() / sizeof(float));
  std::memcpy(values.data(), bytes->data(), values.size() * sizeof(float));
  return values;
}

double MaxAbsDifference(std::span<const float> x, std::span<const float> y) {
  EXPECT_EQ(x.size(), y.size());
  double worst = 0;
  for (size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
    const double difference = std::abs(static_cast<double>(x[i]) - static_cast<double>(y[i]));
    if (!(difference <= worst)) worst = difference;  // NaN counts
  }
  return worst;
}

std::vector<float> FloatsOf(const GgufFile& file, const std::string& name) {
  const GgufTensor* tensor = file.FindTensor(name);
  EXPECT_NE(tensor, nullptr) << name;
  if (tensor == nullptr) return {};
  std::vector<float> values(tensor->bytes.size() / sizeof(float));
  std::memcpy(values.data(), tensor->bytes.data(), tensor->bytes.size());
  return values;
}

// A model on a backend.
struct Loaded {
  std::unique_ptr<Backend> backend;
  std::unique_ptr<Model> model;
  std::unique_ptr<DeviceModel> weights;
};

class ReferenceTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (!HasDevice(GetParam())) GTEST_SKIP() << "this machine has no " << GetParam() << " device";
  }

  static Loaded Load(const std::string& path) {
    Loaded loaded;
    auto backend = CreateBackend(GetParam(), BackendOptions{});
    EXPECT_TRUE(backend.ok()) << backend.status();
    loaded.backend = *std::move(backend);
    auto model = Model::Open(path);
    EXPECT_TRUE(model.ok()) << model.status();
    loaded.model = std::make_unique<Model>(*std::move(model));
    auto weights = DeviceModel::Load(*loaded.backend, *loaded.model);
    EXPECT_TRUE(weights.ok()) << weights.status();
    loaded.weights = std::make_unique<DeviceModel>(*std::move(weights));
    return loaded;
  }

  // One for each model.
  static nlohmann::json Records(const std::string& dir) {
    return ReadJson(dir + "/reference/logits.json");
  }

  // A stored adapter with its model.
  struct AdapterCase {
    nlohmann::json record;
    std::string folder;
    Loaded loaded;
    Adapter adapter;
  };
  static void ForEachAdapter(const std::string& dir,
                             absl::FunctionRef<void(const AdapterCase&)> body) {
    const nlohmann::json records = ReadJson(dir + "/reference/lora.json");
    EXPECT_EQ(records.size(), 5u);
    for (const nlohmann::json& record : records) {
      const std::string model = record["model"];
      SCOPED_TRACE(model);
      AdapterCase stored;
      stored.record = record;
      stored.folder = dir + "/reference/" + record["dir"].get<std::string>();
      stored.loaded = Load(dir + "/" + model);
      auto adapter = ReadGgufAdapter(stored.folder + "/adapter.gguf");
      ASSERT_TRUE(adapter.ok()) << adapter.status();
      stored.adapter = *std::move(adapter);
      body(stored);
    }
  }
};

INSTANTIATE_TEST_SUITE_P(Backends, ReferenceTest, ::testing::Values("cpu", "vulkan"),
                         [](const auto& test) { return std::string(test.param); });

TEST_P(ReferenceTest, LogitsOfAllModels) {
  CHOIR_TEST_DATA_OR_SKIP(dir);
  for (const nlohmann::json& record : Records(dir)) {
    const std::string name = record["model"];
    const Loaded loaded = Load(dir + "/" + name);
    double worst = 0;
    for (const auto& prompt : record["prompts"]) {
      const auto logits = ComputeLogits(*loaded.model, *loaded.backend, *loaded.weights, nullptr,
                                        prompt["ids"].get<std::vector<int32_t>>(), Compute::kF32);
      ASSERT_TRUE(logits.ok()) << logits.status();
      const std::string file = prompt["logits_f32"];
      worst = std::max(worst, MaxAbsDifference(*logits, ReadFloats(dir + "/reference/" + file)));
    }
    EXPECT_LE(worst, kLogitTolerance) << name;
    RecordProperty(name, fmt::format("{:.2e}", worst));
    fmt::print("{} {}: largest logit difference {:.2e}\n", GetParam(), name, worst);
  }
}

TEST_P(ReferenceTest, GreedyTextOfAllModels) {
  CHOIR_TEST_DATA_OR_SKIP(dir);
  for (const nlohmann::json& record : Records(dir)) {
    if (!record.contains("greedy48")) continue;  // of random weights
    const Loaded loaded = Load(dir + "/" + record["model"].get<std::string>());
    const auto expected = record["greedy48"]["ids"].get<std::vector<int32_t>>();
    const auto prompt = record["prompts"][0]["ids"].get<std::vector<int32_t>>();
    // Pieces of 3 ids: the prompt's 5 take two, the second one padded.
    auto generator = Generator::Create(*loaded.model, *loaded.backend, *loaded.weights, nullptr,
                                       {.context_tokens = 64, .prompt_tokens = 3});
    ASSERT_TRUE(generator.ok()) << generator.status();
    GreedySampler sampler;
    const auto generation = generator->Generate(
        prompt, sampler, {.max_new_tokens = static_cast<int64_t>(expected.size() - prompt.size())},
        nullptr);
    ASSERT_TRUE(generation.ok()) << generation.status();
    std::vector<int32_t> ids = prompt;
    ids.insert(ids.end(), generation->ids.begin(), generation->ids.end());
    EXPECT_EQ(ids, expected) << record["model"];
  }
}

TEST_P(ReferenceTest, MeanNllOfATextOnAllModels) {
  CHOIR_TEST_DATA_OR_SKIP(dir);
  for (const nlohmann::json& record : Records(dir)) {
    const Loaded loaded = Load(dir + "/" + record["model"].get<std::string>());
    Document document;
    document.tokens = record["nll_text"]["ids"].get<std::vector<int32_t>>();
    document.in_loss.assign(document.tokens.size(), 1);
    document.in_loss[0] = 0;
    TrainingDataOptions options;
    options.context_tokens = 256;  // more than the text: padding must not count
    auto data = PackDocuments({document}, options);
    ASSERT_TRUE(data.ok()) << data.status();
    auto evaluator = Evaluator::Create(*loaded.model, *loaded.backend, *loaded.weights, nullptr,
                                       options.context_tokens, Compute::kF32);
    ASSERT_TRUE(evaluator.ok()) << evaluator.status();
    const auto evaluation = evaluator->Evaluate(data->packer, nullptr);
    ASSERT_TRUE(evaluation.ok()) << evaluation.status();
    EXPECT_EQ(evaluation->tokens, document.tokens.size() - 1);
    EXPECT_NEAR(evaluation->mean_nll, record["nll_text"]["mean_nll"].get<double>(), kLossTolerance);
    fmt::print("{} {}: mean NLL off by {:.1e}\n", GetParam(), record["model"].get<std::string>(),
               evaluation->mean_nll - record["nll_text"]["mean_nll"].get<double>());
  }
}

// The largest difference of a factor, as a share of its largest element.
double GradientDifference(const Adapter& got, const GgufFile& want) {
  EXPECT_EQ(want.tensors().size(), 2 * got.pairs.size());
  double worst = 0;
  for (const LoraPair& pair : got.pairs) {
    for (const auto& [suffix, ours] :
         {std::pair(".lora_a", &pair.a), std::pair(".lora_b", &pair.b)}) {
      const std::vector<float> theirs = FloatsOf(want, pair.name + suffix);
      const std::vector<float> zeros(theirs.size());
      worst = std::max(worst, MaxAbsDifference(theirs, *ours) / MaxAbsDifference(theirs, zeros));
    }
  }
  return worst;
}

TEST_P(ReferenceTest, GradientsOfTheStoredAdapters) {
  CHOIR_TEST_DATA_OR_SKIP(dir);
  ForEachAdapter(dir, [](const AdapterCase& stored) {
    const auto expected = GgufFile::Open(stored.folder + "/grads.gguf");
    ASSERT_TRUE(expected.ok()) << expected.status();
    const auto ids = stored.record["ids"].get<std::vector<int32_t>>();
    const std::vector<float> weights(ids.size() - 1, 1.0f);
    const auto result =
        ComputeGradients(*stored.loaded.model, *stored.loaded.backend, *stored.loaded.weights,
                         stored.adapter, ids, weights, Compute::kF32);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_NEAR(result->loss, stored.record["loss"].get<double>(), kLossTolerance);
    const double worst = GradientDifference(result->gradients, *expected);
    EXPECT_LE(worst, kRelativeGradientTolerance);
    fmt::print("{} {}: largest gradient difference {:.2e} of its tensor's largest\n", GetParam(),
               stored.record["model"].get<std::string>(), worst);
  });
}

TEST_P(ReferenceTest, MaskedLossesAndTheirGradients) {
  CHOIR_TEST_DATA_OR_SKIP(dir);
  ForEachAdapter(dir, [](const AdapterCase& stored) {
    const auto result =
        ComputeGradients(*stored.loaded.model, *stored.loaded.backend, *stored.loaded.weights,
                         stored.adapter, stored.record["ids"].get<std::vector<int32_t>>(),
                         stored.record["masked_weights"].get<std::vector<float>>(), Compute::kF32);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_NEAR(result->loss, stored.record["loss_masked_first4"].get<double>(), kLossTolerance);
    double squares = 0;
    for (const float g : Flatten(result->gradients)) {
      squares += static_cast<double>(g) * static_cast<double>(g);
    }
    const auto expected = stored.record["masked_grad_l2"].get<double>();
    EXPECT_NEAR(std::sqrt(squares), expected, kRelativeGradientTolerance * expected);
  });
}

TEST_P(ReferenceTest, LogitsWithTheStoredAdapters) {
  CHOIR_TEST_DATA_OR_SKIP(dir);
  ForEachAdapter(dir, [](const AdapterCase& stored) {
    auto on_device = DeviceAdapter::Create(*stored.loaded.backend, LayoutOf(stored.adapter), false);
    ASSERT_TRUE(on_device.ok()) << on_device.status();
    ASSERT_TRUE(on_device->Write(AdapterPart::kParameters, Flatten(stored.adapter)).ok());
    const auto logits =
        ComputeLogits(*stored.loaded.model, *stored.loaded.backend, *stored.loaded.weights,
                      &*on_device, stored.record["ids"].get<std::vector<int32_t>>(), Compute::kF32);
    ASSERT_TRUE(logits.ok()) << logits.status();
    const double worst = MaxAbsDifference(*logits, ReadFloats(stored.folder + "/logits.f32"));
    EXPECT_LE(worst, kLogitTolerance);
    fmt::print("{} {}: largest logit difference with an adapter {:.2e}\n", GetParam(),
               stored.record["model"].get<std::string>(), worst);
  });
}

// Trains as the reference did; the losses of all steps go to `losses`.
absl::StatusOr<Adapter> TrainTrajectory(const Loaded& loaded, const Adapter& start,
                                        const std::vector<int32_t>& tokens,
                                        std::vector<double>& losses) {
  CHOIR_ASSIGN_OR_RETURN(auto windows, CutWindows(tokens, 1, 64, false));
  CHOIR_ASSIGN_OR_RETURN(TrainingData data, PackDocuments(std::move(windows), {.context_tokens = 64,
                                                                               .shuffle = false}));
  TrainConfig config;
  config.steps = 20;
  config.context_tokens = 64;
  config.schedule.peak = 1e-3;
  config.adamw.weight_decay = 0.01;
  config.compute = Compute::kF32;
  CHOIR_ASSIGN_OR_RETURN(
      const auto trainer,
      Trainer::Create({*loaded.model, {}, *loaded.backend, *loaded.weights, start}, config,
                      std::move(data)));
  const SystemClock clock;
  CHOIR_RETURN_IF_ERROR(trainer->Run(
      {.on_step = [&losses](const StepReport& report) { losses.push_back(report.loss); }}, {},
      clock));
  return trainer->CurrentAdapter();
}

TEST_P(ReferenceTest, TwentyAdamWSteps) {
  CHOIR_TEST_DATA_OR_SKIP(dir);
  int trajectories = 0;
  ForEachAdapter(dir, [&trajectories](const AdapterCase& stored) {
    if (!stored.record.contains("trajectory")) return;
    ++trajectories;
    const nlohmann::json& trajectory = stored.record["trajectory"];
    const auto start = ReadGgufAdapter(stored.folder + "/train_init.gguf");
    const auto final_adapter = ReadGgufAdapter(stored.folder + "/train_final.gguf");
    ASSERT_TRUE(start.ok() && final_adapter.ok()) << start.status() << final_adapter.status();
    std::vector<double> losses;
    const auto trained = TrainTrajectory(stored.loaded, *start,
                                         trajectory["tokens"].get<std::vector<int32_t>>(), losses);
    ASSERT_TRUE(trained.ok()) << trained.status();
    const auto expected = trajectory["losses"].get<std::vector<double>>();
    ASSERT_EQ(losses.size(), expected.size());
    double worst = 0;
    for (size_t i = 0; i < losses.size(); ++i) {
      EXPECT_NEAR(losses[i], expected[i], kLossTolerance) << "step " << i + 1;
      worst = std::max(worst, std::abs(losses[i] - expected[i]));
    }
    const double parameters = MaxAbsDifference(Flatten(*trained), Flatten(*final_adapter));
    // AdamW's first steps move each value by about the rate, whatever its gradient's size: where a
    // gradient is nearly 0, rounding decides the direction. Measured on the CPU: 1.2e-5.
    EXPECT_LE(parameters, 1e-3);
    fmt::print("{} {}: losses within {:.1e}, final parameters within {:.1e}\n", GetParam(),
               stored.record["model"].get<std::string>(), worst, parameters);
  });
  EXPECT_EQ(trajectories, 2);
}

}  // namespace
}  // namespace choir::engine
