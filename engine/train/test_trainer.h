#ifndef CHOIR_ENGINE_TRAIN_TEST_TRAINER_H_
#define CHOIR_ENGINE_TRAIN_TEST_TRAINER_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "base/clock.h"
#include "base/sha256.h"
#include "engine/backend/registry.h"
#include "engine/lora/latent.h"
#include "engine/train/trainer.h"
#include "engine/train/training_data.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_data.h"

namespace choir::engine {

// stories260K on the CPU, a few made-up documents, a small adapter.
class TrainerTest : public ::testing::Test {
 protected:
  static constexpr int64_t kTokens = 32;

  void SetUp() override {
    CHOIR_TEST_DATA_OR_SKIP(dir);
    BackendOptions options;
    options.num_threads = 2;
    backend_ = *CreateBackend("cpu", options);
    model_path_ = dir + "/models/stories260K-f32.gguf";
    model_ = std::make_unique<Model>(*Model::Open(model_path_));
    weights_ = std::make_unique<DeviceModel>(*DeviceModel::Load(*backend_, *model_));
    LoraConfig lora;
    lora.rank = 2;
    start_ = *InitAdapter(lora, model_->LoraTargets(), model_->spec().architecture, 5);
  }

  // `count` documents of different lengths, `vary` changes their tokens.
  static std::vector<Document> Documents(int count, int vary = 0) {
    std::vector<Document> documents;
    for (int d = 0; d < count; ++d) {
      Document document;
      for (int t = 0; t < 7 + d % 5; ++t) {
        document.tokens.push_back(t == 0 ? 1 : 260 + (d * 37 + t * 11 + vary) % 200);
        document.in_loss.push_back(t == 0 ? 0 : 1);
      }
      documents.push_back(document);
    }
    return documents;
  }

  static TrainConfig Config() {
    TrainConfig config;
    config.steps = 6;
    config.context_tokens = kTokens;
    config.micro_batches = 2;
    config.schedule = {.peak = 5e-3, .warmup_steps = 2, .decay = Decay::kCosine, .final_ratio = 0};
    config.adamw.weight_decay = 0.01;
    config.max_gradient_norm = 0.5;
    config.compute = Compute::kF32;
    return config;
  }

  std::unique_ptr<Trainer> Make(const TrainConfig& config, std::vector<Document> documents) {
    TrainingDataOptions options;
    options.context_tokens = config.context_tokens;
    options.seed = 42;
    auto data = PackDocuments(std::move(documents), options);
    EXPECT_TRUE(data.ok()) << data.status();
    auto trainer = Trainer::Create({*model_, Sha256Of("model"), *backend_, *weights_, start_},
                                   config, *std::move(data));
    EXPECT_TRUE(trainer.ok()) << trainer.status();
    return *std::move(trainer);
  }

  static TrainState StateOf(const Trainer& trainer) {
    auto state = trainer.State();
    EXPECT_TRUE(state.ok()) << state.status();
    return *std::move(state);
  }

  // Trains until `steps` are done; checkpoints into `path`.
  absl::Status RunFor(Trainer& trainer, int64_t steps, const std::string& path,
                      std::vector<double>* losses = nullptr) {
    TrainHooks hooks;
    hooks.on_step = [losses](const StepReport& report) {
      if (losses != nullptr) losses->push_back(report.loss);
    };
    hooks.should_stop = [&trainer, steps] { return trainer.step() >= steps; };
    return trainer.Run(hooks, {.path = path, .every_steps = 0}, clock_);
  }

  SystemClock clock_;
  TempDir temp_;
  std::unique_ptr<Backend> backend_;
  std::string model_path_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<DeviceModel> weights_;
  Adapter start_;
};

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_TRAIN_TEST_TRAINER_H_
