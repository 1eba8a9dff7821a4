// What the measurements rest on: models of the stated sizes, work that is counted right, times that
// add up. No test looks at how long anything takes.

#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/process_memory.h"
#include "bench/in_turn.h"
#include "bench/infer_measure.h"
#include "bench/machine_limits.h"
#include "bench/memory_reader.h"
#include "bench/model_shape.h"
#include "bench/op_work.h"
#include "bench/random_model.h"
#include "bench/train_measure.h"
#include "engine/backend/cpu/cpu_backend.h"
#include "engine/model/train_graph.h"
#include "tests/support/temp_dir.h"
#include <nlohmann/json.hpp>

namespace choir::bench {
namespace {

engine::Model QuickModel(const engine::WeightFormat& format) {
  const TempDir folder;
  auto model = MakeRandomModel(kQuickShape, format, nullptr, folder.path());
  EXPECT_TRUE(model.ok()) << model.status();
  return *std::move(model);
}

engine::Adapter QuickAdapter(const engine::Model& model) {
  auto adapter = engine::InitAdapter({}, model.LoraTargets(), model.spec().architecture, 1);
  EXPECT_TRUE(adapter.ok()) << adapter.status();
  return *std::move(adapter);
}

TEST(RandomModelTest, EveryFormatOpensWithTheSizesOfItsShape) {
  for (const engine::WeightFormat* format : engine::AllWeightFormats()) {
    if (format->quantize_row == nullptr) continue;
    const engine::Model model = QuickModel(*format);
    EXPECT_EQ(model.spec().channels, kQuickShape.channels) << format->name;
    EXPECT_EQ(model.spec().vocabulary, kQuickShape.vocabulary) << format->name;
    EXPECT_EQ(model.spec().layers.size(), static_cast<size_t>(kQuickShape.layers));
    const engine::GgufTensor* q = model.file().FindTensor("blk.0.attn_q.weight");
    ASSERT_NE(q, nullptr);
    EXPECT_EQ(q->type, format->type_id);
  }
}

TEST(RandomModelTest, EveryShapeIsANetworkThatItsArchitectureKnows) {
  const TempDir folder;
  for (ModelShape shape : AllModelShapes()) {
    shape.layers = 1;
    shape.vocabulary = 64;
    const auto model = MakeRandomModel(shape, engine::kTQ2_0Format, nullptr, folder.path());
    EXPECT_TRUE(model.ok()) << shape.name << ": " << model.status();
  }
}

TEST(RandomModelTest, RowsThatAreNoWholeBlocksAreRefused) {
  const TempDir folder;
  ModelShape shape = kQuickShape;
  shape.channels = 96;
  shape.head_size = 24;
  const auto model = MakeRandomModel(shape, engine::kQ4_KFormat, nullptr, folder.path());
  EXPECT_EQ(model.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(OpWorkTest, CountsTwoOperationsForEachWeightAndToken) {
  engine::Graph graph;
  const auto x = graph.AddInput("x", engine::F32(5, 32));
  const auto w = graph.AddPersistent("w", engine::Weight(&engine::kQ8_0Format, 7, 32));
  ASSERT_TRUE(graph.AddNode("linear", {x, w}, {{"lora", 0}}).ok());
  const Work work = WorkOf(graph);
  EXPECT_EQ(work.flops, 2 * 5 * 32 * 7);
  EXPECT_EQ(work.bytes, 4 * 5 * 32 + 7 * 34 + 4 * 5 * 7);
}

TEST(TrainMeasureTest, TellsStepsTokensAndWhereTheTimeWent) {
  const engine::Model model = QuickModel(engine::kQ8_0Format);
  const auto backend = engine::CreateCpuBackend(2);
  ASSERT_TRUE(backend.ok());
  const auto weights = engine::DeviceModel::Load(**backend, model);
  ASSERT_TRUE(weights.ok());
  engine::TrainConfig config;
  config.steps = 2;
  config.context_tokens = 16;
  config.micro_batches = 2;
  auto data = MadeUpData(model.spec().vocabulary, config.context_tokens);
  ASSERT_TRUE(data.ok()) << data.status();
  const SystemClock clock;
  const engine::Adapter start = QuickAdapter(model);
  const auto result =
      MeasureTraining({model, **backend, *weights, start, config, clock}, *std::move(data));
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->steps.count(), 2);
  EXPECT_EQ(result->tokens_per_step, 32);
  EXPECT_EQ(result->useful_share, 1);
  EXPECT_GE(result->steps.Mean(), result->steps.Fastest());
  ASSERT_FALSE(result->ops.empty());
  double calls = 0;
  for (const OpProfile& op : result->ops) calls += static_cast<double>(op.calls);
  const auto trace = nlohmann::json::parse(result->chrome_trace);
  EXPECT_EQ(static_cast<double>(trace.at("traceEvents").size()), calls);
}

TEST(TrainRunTest, StepByStepTrainsAsInOneGo) {
  const engine::Model model = QuickModel(engine::kQ8_0Format);
  const auto backend = engine::CreateCpuBackend(2);
  ASSERT_TRUE(backend.ok());
  const auto weights = engine::DeviceModel::Load(**backend, model);
  ASSERT_TRUE(weights.ok());
  engine::TrainConfig config;
  config.steps = 2;
  config.context_tokens = 16;
  const SystemClock clock;
  const TrainSetup setup{model, **backend, *weights, QuickAdapter(model), config, clock};
  const auto data = [&] { return *MadeUpData(model.spec().vocabulary, config.context_tokens); };
  const auto first = TrainRun::Create(setup, data());
  const auto second = TrainRun::Create(setup, data());
  ASSERT_TRUE(first.ok() && second.ok()) << first.status() << second.status();
  MeasuredRun* const turns[] = {first->get(), second->get()};
  ASSERT_TRUE(RunInTurn(turns, 2, [](int64_t) { return absl::OkStatus(); }).ok());
  const auto whole = MeasureTraining(setup, data());
  ASSERT_TRUE(whole.ok()) << whole.status();
  EXPECT_EQ((*first)->Result().last_loss, whole->last_loss);
  EXPECT_EQ((*second)->Result().last_loss, whole->last_loss);
  EXPECT_NE((*second)->Result().first_loss, whole->last_loss);
  EXPECT_EQ((*first)->Step().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(InferRunTest, AnAdapterAddsToTheWorkOfAToken) {
  const engine::Model model = QuickModel(engine::kQ8_0Format);
  const auto backend = engine::CreateCpuBackend(2);
  ASSERT_TRUE(backend.ok());
  const auto weights = engine::DeviceModel::Load(**backend, model);
  ASSERT_TRUE(weights.ok());
  const engine::Adapter start = QuickAdapter(model);
  auto adapter = engine::DeviceAdapter::Create(**backend, engine::LayoutOf(start), false);
  ASSERT_TRUE(adapter.ok());
  ASSERT_TRUE(adapter->Write(engine::AdapterPart::kParameters, engine::Flatten(start)).ok());
  const SystemClock clock;
  InferSetup setup{.model = model,
                   .backend = **backend,
                   .weights = *weights,
                   .prompt_tokens = 16,
                   .prompt_batch = 8,
                   .new_tokens = 2,
                   .clock = clock};
  const auto without = MeasureGeneration(setup);
  setup.adapter = &*adapter;
  const auto with = MeasureGeneration(setup);
  ASSERT_TRUE(without.ok() && with.ok()) << without.status() << with.status();
  EXPECT_EQ(with->runs.count(), 2);
  EXPECT_EQ(with->work.flops - without->work.flops,
            2.0 * static_cast<double>(engine::LayoutOf(start).num_elements));
  EXPECT_EQ(with->WeightBytesPerToken(), without->WeightBytesPerToken());
}

TEST(InferRunTest, MoreTokensThanTheCacheHasPlacesForAreRefused) {
  const engine::Model model = QuickModel(engine::kQ8_0Format);
  const auto backend = engine::CreateCpuBackend(2);
  ASSERT_TRUE(backend.ok());
  const auto weights = engine::DeviceModel::Load(**backend, model);
  ASSERT_TRUE(weights.ok());
  const SystemClock clock;
  const InferSetup setup{.model = model,
                         .backend = **backend,
                         .weights = *weights,
                         .prompt_tokens = 8,
                         .prompt_batch = 8,
                         .new_tokens = 1,
                         .clock = clock};
  const auto run = InferRun::Create(setup, InferRun::Part::kGeneration);
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_TRUE((*run)->Step().ok());
  EXPECT_EQ((*run)->Step().code(), absl::StatusCode::kFailedPrecondition);
}

// Writes its name into a list when it is its turn.
class NamedRun : public MeasuredRun {
 public:
  NamedRun(char name, std::string& list) : name_(name), list_(list) {}
  absl::Status Step() override {
    list_ += name_;
    times_.Add(1);
    return absl::OkStatus();
  }
  [[nodiscard]] const Times& times() const override { return times_; }

 private:
  char name_;
  std::string& list_;
  Times times_;
};

TEST(InTurnTest, StepsAlternateAndEachRoundIsTold) {
  std::string list;
  NamedRun a('a', list);
  NamedRun b('b', list);
  MeasuredRun* const runs[] = {&a, &b};
  const auto after_round = [&](int64_t done) {
    list += std::to_string(done);
    return absl::OkStatus();
  };
  ASSERT_TRUE(RunInTurn(runs, 3, after_round).ok());
  EXPECT_EQ(list, "ab1ab2ab3");
}

TEST(InTurnTest, AnErrorEndsTheRounds) {
  std::string list;
  NamedRun a('a', list);
  MeasuredRun* const runs[] = {&a};
  const auto fail = [](int64_t) { return absl::UnavailableError("no"); };
  EXPECT_TRUE(absl::IsUnavailable(RunInTurn(runs, 3, fail)));
  EXPECT_EQ(list, "a");
}

Times TimesOf(const std::vector<double>& seconds) {
  Times times;
  for (const double s : seconds) times.Add(s);
  return times;
}

TEST(TimesTest, MedianMeanAndEnds) {
  const Times times = TimesOf({4, 1, 3, 2});
  EXPECT_EQ(times.Fastest(), 1);
  EXPECT_EQ(times.Slowest(), 4);
  EXPECT_EQ(times.Median(), 2.5);
  EXPECT_EQ(times.Mean(), 2.5);
  EXPECT_EQ(TimesOf({5, 1, 2}).Median(), 2);
  EXPECT_EQ(Times().Median(), 0);
}

TEST(TimesTest, ASpeedupIsOfTheSameRounds) {
  // The machine slows down to a third: both meet it, and the ratio stays.
  const Times base = TimesOf({1, 1, 3, 3, 3});
  EXPECT_DOUBLE_EQ(MedianSpeedup(TimesOf({0.5, 0.5, 1.5, 1.5, 1.5}), base), 2);
  EXPECT_EQ(MedianSpeedup(Times(), base), 0);
}

TEST(TimesTest, AShareIsThatOfTheSameRound) {
  // 3 units of work in the time in which the other does 10, 5 and 20.
  const Times other = TimesOf({1, 2, 0.5});
  EXPECT_DOUBLE_EQ(MedianShare(TimesOf({1, 1, 1}), 3, other, 10), 0.3);
  EXPECT_EQ(MedianShare(TimesOf({1}), 3, Times(), 10), 0);
  EXPECT_EQ(MedianShare(TimesOf({1}), 3, other, 0), 0);
}

TEST(MemoryReaderTest, EachStepIsOneMoreTime) {
  auto reader = MemoryReader::Create(2, int64_t{8} << 20);
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ((*reader)->bytes(), double{8 << 20});
  ASSERT_TRUE((*reader)->Step().ok() && (*reader)->Step().ok());
  EXPECT_EQ((*reader)->times().count(), 2);
  EXPECT_GT((*reader)->times().Fastest(), 0);
}

TEST(MachineLimitsTest, BandwidthAndPeakArePositive) {
  EXPECT_GT(*MeasureReadBandwidth(2, int64_t{1} << 20), 0);
  EXPECT_GT(*MeasureGemmPeak(kQuickShape.Spec(), 16, engine::GemmType::kF32, 2, 0.01), 0);
  EXPECT_GT(PeakResidentBytes(), 0U);
}

}  // namespace
}  // namespace choir::bench
