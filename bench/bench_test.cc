// What the measurements rest on: models of the stated sizes, work that is counted right, times that
// add up. No test looks at how long anything takes.

#include <string>

#include <gtest/gtest.h>

#include "base/process_memory.h"
#include "bench/machine_limits.h"
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
  EXPECT_EQ(result->steps, 2);
  EXPECT_EQ(result->tokens_per_step, 32);
  EXPECT_EQ(result->useful_share, 1);
  EXPECT_GE(result->mean_step_s, result->fastest_step_s);
  ASSERT_FALSE(result->ops.empty());
  double calls = 0;
  for (const OpProfile& op : result->ops) calls += static_cast<double>(op.calls);
  const auto trace = nlohmann::json::parse(result->chrome_trace);
  EXPECT_EQ(static_cast<double>(trace.at("traceEvents").size()), calls);
}

TEST(MachineLimitsTest, BandwidthAndPeakArePositive) {
  EXPECT_GT(*MeasureReadBandwidth(2, int64_t{1} << 20), 0);
  EXPECT_GT(*MeasureGemmPeak(kQuickShape.Spec(), 16, engine::GemmType::kF32, 2, 0.01), 0);
  EXPECT_GT(PeakResidentBytes(), 0U);
}

}  // namespace
}  // namespace choir::bench
