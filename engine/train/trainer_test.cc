#include "engine/train/trainer.h"

#include <cmath>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/file.h"
#include "engine/backend/registry.h"
#include "engine/graph/autodiff.h"
#include "engine/lora/latent.h"
#include "engine/train/training_plan.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_data.h"

namespace choir::engine {
namespace {

constexpr int64_t kTokens = 32;

// stories260K on the CPU, a few made-up documents, a small adapter.
class TrainerTest : public ::testing::Test {
 protected:
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

// Of the process's pages, those that show this file.
uint64_t ResidentBytesOf(const std::string& path) {
  const std::string name = path.substr(path.rfind('/'));
  std::ifstream maps("/proc/self/smaps");
  bool ours = false;
  uint64_t bytes = 0;
  for (std::string line; std::getline(maps, line);) {
    const size_t colon = line.find(':');
    if (line.find('-') < colon) ours = line.ends_with(name);  // the head of a mapping
    if (ours && line.starts_with("Rss:")) bytes += std::stoull(line.substr(4)) * 1024;
  }
  return bytes;
}

TEST_F(TrainerTest, StreamedWeightsGiveTheSameBitsAndDoNotStayInMemory) {
  TrainConfig config = Config();
  config.recomputed_blocks = kAllBlocks;
  const auto resident = Make(config, Documents(30));
  ASSERT_TRUE(RunFor(*resident, 100, "").ok());
  const uint64_t with_all = ResidentBytesOf(model_path_);
  weights_ = std::make_unique<DeviceModel>(*DeviceModel::Load(
      *backend_, *model_, {.block_bytes = 0, .embedding = false, .output = false}));
  const auto streamed = Make(config, Documents(30));
  ASSERT_TRUE(RunFor(*streamed, 100, "").ok());
  EXPECT_EQ(SerializeTrainState(StateOf(*streamed)), SerializeTrainState(StateOf(*resident)));
  EXPECT_GT(with_all, model_->file().size_bytes() / 2);
  // The system shows the neighbours of a page that it fetches, which for tensors as small as these
  // is much of the file.
  EXPECT_LT(ResidentBytesOf(model_path_), with_all / 4 * 3);
}

TEST_F(TrainerTest, APlanWithinABudgetRecomputesThenStreamsThenRefuses) {
  const AdapterLayout layout = LayoutOf(start_);
  const auto plan = [&](uint64_t memory_bytes, Recompute recompute = Recompute::kAuto) {
    auto made = PlanTraining(*model_, layout, Config(), *backend_, {memory_bytes}, recompute);
    EXPECT_TRUE(made.ok()) << made.status();
    return *std::move(made);
  };
  const auto blocks = static_cast<int64_t>(model_->spec().layers.size());
  const TrainingPlan plain = plan(uint64_t{1} << 40);
  EXPECT_EQ(plain.recomputed_blocks, 0);
  EXPECT_FALSE(plain.weights.streams_blocks());
  EXPECT_TRUE(plain.weights.output);
  const TrainingPlan recomputed = plan(uint64_t{1} << 40, Recompute::kOn);
  EXPECT_EQ(recomputed.recomputed_blocks, blocks);
  EXPECT_LT(recomputed.memory.arena_bytes, plain.memory.arena_bytes);
  EXPECT_FALSE(recomputed.weights.output);
  const uint64_t tight = recomputed.memory.total_bytes() - 1000;
  const TrainingPlan streamed = plan(tight);
  EXPECT_EQ(streamed.recomputed_blocks, blocks);
  EXPECT_LT(streamed.weights.block_bytes, BlockBytes(*model_));
  EXPECT_TRUE(CheckFits(streamed, backend_->info(), tight).ok());
  const uint64_t too_little = plain.memory.total_bytes() / 4;
  EXPECT_EQ(CheckFits(plan(too_little), backend_->info(), too_little).code(),
            absl::StatusCode::kResourceExhausted);
}

// Only as many blocks as the memory asks for: one less would be more than 80 % of it.
TEST_F(TrainerTest, APlanRecomputesNoMoreBlocksThanItMust) {
  const AdapterLayout layout = LayoutOf(start_);
  const auto arena = [&](int64_t blocks) {
    return *ArenaBytesForTraining(*model_, layout,
                                  {.tokens = Config().context_tokens, .recomputed_blocks = blocks});
  };
  const TrainingPlan all = *PlanTraining(*model_, layout, Config(), *backend_,
                                         {.memory_bytes = uint64_t{1} << 40}, Recompute::kOn);
  const uint64_t rest = all.memory.total_bytes() - all.memory.arena_bytes;
  for (const int64_t blocks : {int64_t{1}, int64_t{3}}) {
    ASSERT_LT(arena(blocks), arena(blocks - 1));
    const uint64_t memory_bytes = (rest + arena(blocks)) * 100 / 80 + 200;
    const auto plan =
        PlanTraining(*model_, layout, Config(), *backend_, {memory_bytes}, Recompute::kAuto);
    ASSERT_TRUE(plan.ok()) << plan.status();
    EXPECT_EQ(plan->recomputed_blocks, blocks);
    EXPECT_EQ(plan->memory.arena_bytes, arena(blocks));
    EXPECT_FALSE(plan->weights.streams_blocks());
  }
}

// The adapter that training starts from is among what the program has, and goes.
TEST_F(TrainerTest, APlanCountsWhatTheProgramHasWithoutTheStart) {
  const AdapterLayout layout = LayoutOf(start_);
  const auto total = [&](uint64_t (*program_bytes)()) {
    return PlanTraining(*model_, layout, Config(), *backend_,
                        {.memory_bytes = uint64_t{1} << 40, .program_bytes = program_bytes},
                        Recompute::kOff)
        ->memory.total_bytes();
  };
  const uint64_t start_bytes = start_.ParameterCount() * sizeof(float);
  EXPECT_EQ(total([] { return uint64_t{50} << 20; }) + start_bytes,
            total(nullptr) + (uint64_t{50} << 20));
}

TEST_F(TrainerTest, ResumedRunEqualsTheUninterruptedOneBitForBit) {
  const auto whole = Make(Config(), Documents(30));
  std::vector<double> whole_losses;
  ASSERT_TRUE(RunFor(*whole, 100, "", &whole_losses).ok());

  const std::string path = temp_.path() + "/state";
  std::vector<double> losses;
  {
    const auto first = Make(Config(), Documents(30));
    EXPECT_TRUE(absl::IsCancelled(RunFor(*first, 3, path, &losses)));
  }
  const auto second = Make(Config(), Documents(30));
  const auto state = ReadTrainState(path);
  ASSERT_TRUE(state.ok()) << state.status();
  ASSERT_TRUE(second->Restore(*state).ok());
  EXPECT_EQ(second->step(), 3);
  ASSERT_TRUE(RunFor(*second, 100, path, &losses).ok());

  EXPECT_EQ(losses, whole_losses);
  EXPECT_EQ(SerializeTrainState(StateOf(*second)), SerializeTrainState(StateOf(*whole)));
  EXPECT_EQ(second->metrics().mean_loss, whole->metrics().mean_loss);
}

// The masks are a function of the seed and the micro-batch's number, nothing that a stop forgets.
TEST_F(TrainerTest, DropoutIsResumedAndRecomputedBitForBit) {
  TrainConfig config = Config();
  config.lora_dropout = 0.2;
  config.dropout_seed = 7;
  const auto whole = Make(config, Documents(30));
  std::vector<double> whole_losses;
  ASSERT_TRUE(RunFor(*whole, 100, "", &whole_losses).ok());

  const std::string path = temp_.path() + "/state";
  EXPECT_TRUE(absl::IsCancelled(RunFor(*Make(config, Documents(30)), 3, path)));
  config.recomputed_blocks = kAllBlocks;
  const auto resumed = Make(config, Documents(30));
  ASSERT_TRUE(resumed->Restore(*ReadTrainState(path)).ok());
  ASSERT_TRUE(RunFor(*resumed, 100, path).ok());
  EXPECT_EQ(SerializeTrainState(StateOf(*resumed)), SerializeTrainState(StateOf(*whole)));

  config.dropout_seed = 8;
  const auto other = Make(config, Documents(30));
  EXPECT_EQ(other->Restore(*ReadTrainState(path)).code(), absl::StatusCode::kFailedPrecondition);
  std::vector<double> other_losses;
  ASSERT_TRUE(RunFor(*other, 100, "", &other_losses).ok());
  EXPECT_NE(other_losses, whole_losses);
}

TEST_F(TrainerTest, WithoutDropoutTheProgramHasNone) {
  const AdapterLayout layout = LayoutOf(start_);
  const auto none = BuildTrainGraph(*model_, layout, {.tokens = 8, .dropout = 0});
  ASSERT_TRUE(none.ok()) << none.status();
  EXPECT_EQ(none->dropout_key, -1);
  for (const Node& node : none->graph.nodes()) EXPECT_FALSE(node.attrs.Has("dropout"));
}

TEST_F(TrainerTest, StopWithinAStepKeepsTheLastWholeStep) {
  const auto whole = Make(Config(), Documents(30));
  ASSERT_TRUE(RunFor(*whole, 100, "").ok());
  const auto trainer = Make(Config(), Documents(30));
  int asked = 0;
  TrainHooks hooks;
  hooks.should_stop = [&asked] { return ++asked == 4; };  // between the halves of step 2
  EXPECT_TRUE(absl::IsCancelled(trainer->Run(hooks, {}, clock_)));
  EXPECT_EQ(trainer->step(), 1);
  ASSERT_TRUE(RunFor(*trainer, 100, "").ok());
  EXPECT_EQ(SerializeTrainState(StateOf(*trainer)), SerializeTrainState(StateOf(*whole)));
}

TEST_F(TrainerTest, LossFalls) {
  TrainConfig config = Config();
  config.steps = 25;
  const auto trainer = Make(config, Documents(10));
  std::vector<double> losses;
  ASSERT_TRUE(RunFor(*trainer, 100, "", &losses).ok());
  EXPECT_LT(losses.back(), losses.front() - 0.3);
}

// The largest difference between two gradients, as a part of the largest element.
double WorstDifference(const std::vector<float>& x, const std::vector<float>& y) {
  double worst = 0;
  double largest = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    worst = std::max(worst, static_cast<double>(std::abs(x[i] - y[i])));
    largest = std::max(largest, static_cast<double>(std::abs(x[i])));
  }
  EXPECT_GT(largest, 0.0);
  return worst / largest;
}

TEST_F(TrainerTest, SplittingABatchChangesNeitherLossNorGradient) {
  // Four documents of one length: one micro-batch of four, two of two, or four of one.
  std::vector<Document> documents;
  for (Document document : Documents(40)) {
    if (document.tokens.size() == 9 && documents.size() < 4) documents.push_back(document);
  }
  ASSERT_EQ(documents.size(), 4u);
  TrainConfig config = Config();
  config.steps = 1;
  config.schedule = {.peak = 1e-3};
  config.micro_batches = 1;
  config.context_tokens = 32;
  const auto whole = Make(config, documents);
  ASSERT_TRUE(RunFor(*whole, 1, "").ok());
  EXPECT_EQ(whole->metrics().tokens, 32u);
  for (const int64_t parts : {2, 4}) {
    config.micro_batches = parts;
    config.context_tokens = 32 / parts;
    const auto split = Make(config, documents);
    ASSERT_TRUE(RunFor(*split, 1, "").ok());
    EXPECT_EQ(split->metrics().tokens, 32u);
    EXPECT_NEAR(split->metrics().mean_loss, whole->metrics().mean_loss, 1e-4);
    // Another order of f32 sums. After one step the moment is a tenth of the gradient.
    EXPECT_LE(WorstDifference(StateOf(*whole).first_moment, StateOf(*split).first_moment), 1e-5);
  }
}

// The same batch at every step, and a rate too small to change its gradient.
TEST_F(TrainerTest, GradientAccumulatorsBeginEachStepAtZero) {
  TrainConfig config = Config();
  config.steps = 4;
  config.micro_batches = 2;
  config.max_gradient_norm = 0;
  config.schedule = {.peak = 1e-9};
  // Without momentum, and with an epsilon far above a gradient, AdamW's step is nearly SGD's.
  config.adamw = {.beta1 = 0, .beta2 = 0, .epsilon = 1, .weight_decay = 0};
  const auto trainer = Make(config, Documents(1));
  const std::vector<float> start = Flatten(start_);
  std::vector<float> first;
  for (int64_t step = 1; step <= 4; ++step) {
    const absl::Status status = RunFor(*trainer, step, "");
    ASSERT_TRUE(status.ok() || absl::IsCancelled(status)) << status;
    const std::vector<float> now = StateOf(*trainer).parameters;
    if (step == 1) first = now;
    float largest = 0;
    for (size_t i = 0; i < now.size(); ++i) {
      if (start[i] == 0.0f) largest = std::max(largest, std::abs(first[i]));
    }
    size_t moved = 0;
    for (size_t i = 0; i < now.size(); ++i) {
      // B begins at 0, where a tiny step is not rounded away; near-zero gradients are f32 noise.
      if (start[i] != 0.0f || std::abs(first[i]) < 0.05f * largest) continue;
      ++moved;
      ASSERT_NEAR(now[i] / first[i], static_cast<double>(step), 1e-4 * static_cast<double>(step));
    }
    EXPECT_GT(moved, 100u);
  }
}

// What a held-out loss that falls, rises and rises again does to a run of 6 steps.
class EvaluatedTrainerTest : public TrainerTest {
 protected:
  static TrainConfig EvaluatedConfig(int64_t patience) {
    TrainConfig config = Config();
    config.evaluation = {.every_steps = 1, .patience = patience, .held_out = Sha256Of("held out")};
    return config;
  }

  // Made-up losses by step: 4, 3, 2, 5, 6, 1, ...
  absl::Status RunEvaluated(Trainer& trainer, int64_t steps, const std::string& path) {
    constexpr double kLosses[] = {4, 3, 2, 5, 6, 1, 1.5};
    TrainHooks hooks;
    hooks.evaluate = [&trainer, kLosses]() -> absl::StatusOr<double> {
      return kLosses[trainer.step()];
    };
    hooks.on_evaluation = [this](const EvaluationReport& report) {
      evaluated_.push_back(report.step);
      if (report.is_best) best_.push_back(report.step);
    };
    hooks.should_stop = [&trainer, steps] { return trainer.step() >= steps; };
    return trainer.Run(hooks, {.path = path, .every_steps = 0}, clock_);
  }

  std::vector<int64_t> evaluated_;
  std::vector<int64_t> best_;
};

TEST_F(EvaluatedTrainerTest, PatienceEndsTheRunAndTheBestStepIsKept) {
  const auto trainer = Make(EvaluatedConfig(2), Documents(30));
  ASSERT_TRUE(RunEvaluated(*trainer, 100, "").ok());
  EXPECT_TRUE(trainer->stopped_early());
  EXPECT_EQ(trainer->step(), 4);
  EXPECT_EQ(evaluated_, (std::vector<int64_t>{0, 1, 2, 3, 4}));
  EXPECT_EQ(best_, (std::vector<int64_t>{0, 1, 2}));
  const auto two_steps = Make(EvaluatedConfig(2), Documents(30));
  EXPECT_TRUE(absl::IsCancelled(RunFor(*two_steps, 2, "")));
  EXPECT_EQ(Flatten(*trainer->BestAdapter()), Flatten(*two_steps->CurrentAdapter()));
  EXPECT_NE(Flatten(*trainer->BestAdapter()), Flatten(*trainer->CurrentAdapter()));
}

TEST_F(EvaluatedTrainerTest, EvaluatingDoesNotChangeWhatIsTrained) {
  const auto evaluated = Make(EvaluatedConfig(0), Documents(30));
  ASSERT_TRUE(RunEvaluated(*evaluated, 100, "").ok());
  EXPECT_FALSE(evaluated->stopped_early());
  const auto plain = Make(Config(), Documents(30));
  ASSERT_TRUE(RunFor(*plain, 100, "").ok());
  EXPECT_EQ(StateOf(*evaluated).parameters, StateOf(*plain).parameters);
  EXPECT_EQ(evaluated->evaluations().best_step, 5);
}

TEST_F(EvaluatedTrainerTest, PatienceSurvivesAnInterruptionAtEveryStep) {
  const auto whole = Make(EvaluatedConfig(2), Documents(30));
  ASSERT_TRUE(RunEvaluated(*whole, 100, "").ok());
  for (int64_t stop = 0; stop <= 4; ++stop) {
    const std::string path = temp_.path() + "/state" + std::to_string(stop);
    const auto first = Make(EvaluatedConfig(2), Documents(30));
    const absl::Status status = RunEvaluated(*first, stop, path);
    EXPECT_EQ(absl::IsCancelled(status), stop < 4) << status;
    const auto second = Make(EvaluatedConfig(2), Documents(30));
    ASSERT_TRUE(second->Restore(*ReadTrainState(path)).ok());
    ASSERT_TRUE(RunEvaluated(*second, 100, path).ok());
    EXPECT_EQ(SerializeTrainState(StateOf(*second)), SerializeTrainState(StateOf(*whole))) << stop;
  }
}

TEST_F(EvaluatedTrainerTest, AnInterruptedEvaluationIsRepeated) {
  const auto whole = Make(EvaluatedConfig(2), Documents(30));
  ASSERT_TRUE(RunEvaluated(*whole, 100, "").ok());
  const std::string path = temp_.path() + "/state";
  const auto first = Make(EvaluatedConfig(2), Documents(30));
  TrainHooks hooks;
  hooks.evaluate = [&first]() -> absl::StatusOr<double> {
    if (first->step() == 3) return absl::CancelledError("Ctrl-C");
    return 4.0 - static_cast<double>(first->step());
  };
  EXPECT_TRUE(absl::IsCancelled(first->Run(hooks, {.path = path, .every_steps = 0}, clock_)));
  const auto second = Make(EvaluatedConfig(2), Documents(30));
  ASSERT_TRUE(second->Restore(*ReadTrainState(path)).ok());
  EXPECT_EQ(second->step(), 3);
  ASSERT_TRUE(RunEvaluated(*second, 100, "").ok());
  EXPECT_EQ(evaluated_, (std::vector<int64_t>{0, 1, 2, 3, 4, 3, 4}));
  EXPECT_EQ(SerializeTrainState(StateOf(*second)), SerializeTrainState(StateOf(*whole)));
}

TEST_F(EvaluatedTrainerTest, OtherHeldOutDataOrRhythmIsAnotherRun) {
  const std::string path = temp_.path() + "/state";
  const auto first = Make(EvaluatedConfig(2), Documents(30));
  EXPECT_TRUE(absl::IsCancelled(RunEvaluated(*first, 2, path)));
  const auto state = ReadTrainState(path);
  ASSERT_TRUE(state.ok()) << state.status();
  TrainConfig other = EvaluatedConfig(2);
  other.evaluation.held_out = Sha256Of("other");
  EXPECT_EQ(Make(other, Documents(30))->Restore(*state).code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Make(EvaluatedConfig(3), Documents(30))->Restore(*state).code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST_F(EvaluatedTrainerTest, BestAdapterNeedsAnEvaluation) {
  EXPECT_EQ(Make(Config(), Documents(3))->BestAdapter().status().code(),
            absl::StatusCode::kFailedPrecondition);
}

double DistanceFrom(const Adapter& x, const Adapter& y) {
  double squared = 0;
  for (const float d : Flatten(*Subtract(x, y))) squared += double{d} * double{d};
  return std::sqrt(squared);
}

TEST_F(TrainerTest, ProximalTermIsItsFormulaInTheFirstStepsThatItMatters) {
  // Without weight decay and clipping, at the start the term is zero and the first step the same;
  // in the second the gradient is the loss's plus mu (w - w_start).
  TrainConfig config = Config();
  config.steps = 1;
  config.max_gradient_norm = 0;
  const auto plain = Make(config, Documents(10));
  ASSERT_TRUE(RunFor(*plain, 100, "").ok());
  config.proximal_mu = 3;
  const auto near = Make(config, Documents(10));
  ASSERT_TRUE(RunFor(*near, 100, "").ok());
  EXPECT_EQ(StateOf(*near).parameters, StateOf(*plain).parameters);
}

TEST_F(TrainerTest, ProximalTermHoldsTheAdapterNearItsStart) {
  TrainConfig config = Config();
  config.steps = 20;
  config.max_gradient_norm = 0;
  double last = 1e30;
  for (const double mu : {0.0, 1.0, 100.0}) {
    config.proximal_mu = mu;
    const auto trainer = Make(config, Documents(10));
    ASSERT_TRUE(RunFor(*trainer, 100, "").ok());
    const double distance = DistanceFrom(*trainer->CurrentAdapter(), start_);
    EXPECT_GT(distance, 0) << mu;
    EXPECT_LT(distance, last) << mu;
    last = distance;
  }
}

TEST_F(TrainerTest, OnlyTheWindowsComponentsMove) {
  TrainConfig config = Config();
  config.window = {.first = 1, .count = 1, .of = 2};
  const auto trainer = Make(config, Documents(10));
  ASSERT_TRUE(RunFor(*trainer, 100, "").ok());
  const Adapter trained = *trainer->CurrentAdapter();
  bool moved = false;
  for (size_t p = 0; p < trained.pairs.size(); ++p) {
    const LoraPair& now = trained.pairs[p];
    const LoraPair& then = start_.pairs[p];
    for (int64_t i = 0; i < now.cols; ++i) {
      EXPECT_EQ(now.a[static_cast<size_t>(i)], then.a[static_cast<size_t>(i)]);
    }
    for (int64_t i = 0; i < now.rows; ++i) {
      EXPECT_EQ(now.b[static_cast<size_t>(2 * i)], then.b[static_cast<size_t>(2 * i)]);
      moved = moved || now.b[static_cast<size_t>(2 * i + 1)] != 0.0f;
    }
  }
  EXPECT_TRUE(moved);
}

// The core's whole way: every step is AdamW on R alone, B stays B0 R, and a run that was killed
// goes on with the same bits.
class CoreTrainerTest : public TrainerTest {
 protected:
  void SetUp() override {
    TrainerTest::SetUp();
    if (IsSkipped()) return;
    for (LoraPair& pair : start_.pairs) {
      for (size_t i = 0; i < pair.b.size(); ++i) {
        pair.b[i] = 0.01f * static_cast<float>(std::sin(static_cast<double>(i)));
      }
    }
    LatentStart latent = *MakeLatent(start_);
    start_ = latent.adapter;
    basis_ = latent.basis;
  }
  std::unique_ptr<Trainer> MakeCore(TrainConfig config) {
    config.factors = TrainedFactors::kB;
    TrainingDataOptions options;
    options.context_tokens = config.context_tokens;
    auto data = PackDocuments(Documents(10), options);
    auto trainer =
        Trainer::Create({*model_, Sha256Of("model"), *backend_, *weights_, start_, &basis_}, config,
                        *std::move(data));
    EXPECT_TRUE(trainer.ok()) << trainer.status();
    return *std::move(trainer);
  }
  Adapter basis_;
};

TEST_F(CoreTrainerTest, MovesTheCoresAndNothingElse) {
  TrainConfig config = Config();
  config.steps = 12;
  const auto trainer = MakeCore(config);
  std::vector<double> losses;
  ASSERT_TRUE(RunFor(*trainer, 100, "", &losses).ok());
  EXPECT_LT(losses.back(), losses.front());
  const Adapter trained = *trainer->CurrentAdapter();
  EXPECT_EQ(FlattenFactors(trained, TrainedFactors::kA),
            FlattenFactors(start_, TrainedFactors::kA));
  const std::vector<float> delta = *trainer->CoreDelta();
  ASSERT_EQ(delta.size(), CoreLength(start_));
  // B = B0 (R + delta), to f32's rounding.
  Adapter wanted = start_;
  std::vector<float> core = CoreOf(start_, basis_);
  for (size_t i = 0; i < core.size(); ++i) core[i] += delta[i];
  ASSERT_TRUE(SetCore(wanted, basis_, core).ok());
  EXPECT_LT(DistanceFrom(trained, wanted), 1e-5);
  EXPECT_GT(DistanceFrom(trained, start_), 1e-3);
}

// With AdamW's first step every element moves by the learning rate, against its gradient's sign.
TEST_F(CoreTrainerTest, FirstStepIsOfTheLearningRateInEveryElementOfR) {
  TrainConfig config = Config();
  config.steps = 1;
  config.adamw.weight_decay = 0;
  config.schedule = {.peak = 1e-3};
  const auto trainer = MakeCore(config);
  ASSERT_TRUE(RunFor(*trainer, 100, "").ok());
  const auto delta = trainer->CoreDelta();
  ASSERT_TRUE(delta.ok()) << delta.status();
  for (const float moved : *delta) {
    EXPECT_NEAR(std::abs(double{moved}), 1e-3, 1e-5);
  }
}

TEST_F(CoreTrainerTest, ResumedRunEqualsTheUninterruptedOneBitForBit) {
  const auto whole = MakeCore(Config());
  ASSERT_TRUE(RunFor(*whole, 100, "").ok());
  const std::string path = temp_.path() + "/state";
  EXPECT_TRUE(absl::IsCancelled(RunFor(*MakeCore(Config()), 3, path)));
  const auto second = MakeCore(Config());
  ASSERT_TRUE(second->Restore(*ReadTrainState(path)).ok());
  ASSERT_TRUE(RunFor(*second, 100, path).ok());
  EXPECT_EQ(SerializeTrainState(StateOf(*second)), SerializeTrainState(StateOf(*whole)));
  EXPECT_EQ(*second->CoreDelta(), *whole->CoreDelta());
}

TEST_F(CoreTrainerTest, BadBasisIsRefused) {
  basis_.pairs[0].b.assign(basis_.pairs[0].b.size(), 0.0f);
  TrainConfig config = Config();
  config.factors = TrainedFactors::kB;
  TrainingDataOptions options;
  options.context_tokens = config.context_tokens;
  EXPECT_EQ(Trainer::Create({*model_, Sha256Of("model"), *backend_, *weights_, start_, &basis_},
                            config, *PackDocuments(Documents(10), options))
                .status()
                .code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(ComponentWindowTest, GoesOnFromTheFirstPastTheLast) {
  const ComponentWindow window{.first = 3, .count = 2, .of = 4};
  EXPECT_TRUE(window.Contains(3));
  EXPECT_TRUE(window.Contains(0));
  EXPECT_FALSE(window.Contains(1));
  EXPECT_FALSE(window.Contains(2));
  EXPECT_TRUE(ComponentWindow{}.Contains(7));
}

TEST_F(TrainerTest, OnlyTheTrainedFactorsMove) {
  TrainConfig config = Config();
  config.factors = TrainedFactors::kB;
  const auto trainer = Make(config, Documents(30));
  ASSERT_TRUE(RunFor(*trainer, 100, "").ok());
  const auto trained = trainer->CurrentAdapter();
  ASSERT_TRUE(trained.ok());
  EXPECT_EQ(FlattenFactors(*trained, TrainedFactors::kA),
            FlattenFactors(start_, TrainedFactors::kA));
  EXPECT_NE(FlattenFactors(*trained, TrainedFactors::kB),
            FlattenFactors(start_, TrainedFactors::kB));
}

TEST_F(TrainerTest, ClippedGradientHasTheAskedNorm) {
  TrainConfig config = Config();
  config.steps = 1;
  config.schedule = {.peak = 1e-3};
  config.max_gradient_norm = 0.01;
  const auto trainer = Make(config, Documents(30));
  ASSERT_TRUE(RunFor(*trainer, 1, "").ok());
  double squares = 0;
  // After one step the first moment is 0.1 times the clipped gradient.
  const TrainState state = StateOf(*trainer);
  for (const float m : state.first_moment)
    squares += 100.0 * static_cast<double>(m) * static_cast<double>(m);
  EXPECT_NEAR(std::sqrt(squares), 0.01, 1e-5);
}

TEST_F(TrainerTest, RecomputingBlocksGivesTheSameBits) {
  const auto kept = Make(Config(), Documents(30));
  ASSERT_TRUE(RunFor(*kept, 100, "").ok());
  TrainConfig config = Config();
  uint64_t arena_bytes = kept->memory_use().arena_bytes;
  for (const int64_t blocks : {int64_t{2}, kAllBlocks}) {
    config.recomputed_blocks = blocks;
    const auto recomputed = Make(config, Documents(30));
    ASSERT_TRUE(RunFor(*recomputed, 100, "").ok());
    EXPECT_EQ(StateOf(*recomputed).parameters, StateOf(*kept).parameters);
    EXPECT_LT(recomputed->memory_use().arena_bytes, arena_bytes);
    arena_bytes = recomputed->memory_use().arena_bytes;
  }
}

TEST_F(TrainerTest, ForeignCheckpointIsRefused) {
  const std::string path = temp_.path() + "/state";
  const auto first = Make(Config(), Documents(30));
  EXPECT_TRUE(absl::IsCancelled(RunFor(*first, 2, path)));
  const auto state = ReadTrainState(path);
  ASSERT_TRUE(state.ok());
  const auto other_data = Make(Config(), Documents(30, 1));
  EXPECT_EQ(other_data->Restore(*state).code(), absl::StatusCode::kFailedPrecondition);
  TrainConfig config = Config();
  config.schedule.peak = 1e-4;
  const auto other_settings = Make(config, Documents(30));
  EXPECT_EQ(other_settings->Restore(*state).code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(TrainerTest, CheckpointsComeAtTheAskedSteps) {
  const std::string path = temp_.path() + "/state";
  const auto trainer = Make(Config(), Documents(30));
  std::vector<int64_t> saved;
  TrainHooks hooks;
  hooks.on_step = [&](const StepReport&) {
    const auto state = ReadTrainState(path);
    saved.push_back(state.ok() ? state->step : 0);
  };
  ASSERT_TRUE(trainer->Run(hooks, {.path = path, .every_steps = 2}, clock_).ok());
  EXPECT_EQ(saved, (std::vector<int64_t>{0, 0, 2, 2, 4, 4}));
  EXPECT_EQ(ReadTrainState(path)->step, 6);
}

TEST_F(TrainerTest, TokensOutsideTheVocabularyAreRefused) {
  std::vector<Document> documents = Documents(3);
  documents[1].tokens[2] = 512;
  const auto trainer = Make(Config(), documents);
  EXPECT_EQ(RunFor(*trainer, 100, "").code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(TrainerTest, AdapterOfAnotherModelIsRefused) {
  start_.pairs[0].name = "blk.77.attn_q.weight";
  TrainingDataOptions options;
  options.context_tokens = kTokens;
  auto data = PackDocuments(Documents(3), options);
  ASSERT_TRUE(data.ok());
  EXPECT_FALSE(
      Trainer::Create({*model_, {}, *backend_, *weights_, start_}, Config(), *std::move(data))
          .ok());
}

}  // namespace
}  // namespace choir::engine
