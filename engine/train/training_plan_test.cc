#include "engine/train/training_plan.h"

#include <fstream>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "base/process_memory.h"
#include "engine/graph/autodiff.h"
#include "engine/train/compute_choice.h"
#include "engine/train/test_trainer.h"

namespace choir::engine {
namespace {

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
  const TrainingPlan recomputed = plan(uint64_t{1} << 40, Recompute::kFull);
  EXPECT_EQ(recomputed.recomputed_blocks, blocks);
  EXPECT_LT(recomputed.memory.arena_bytes, plain.memory.arena_bytes);
  EXPECT_FALSE(recomputed.weights.output);
  // As little as there is without streaming.
  const uint64_t least = *ArenaBytesForTraining(*model_, layout,
                                                {.tokens = Config().context_tokens,
                                                 .recomputed_blocks = blocks,
                                                 .kept = KeptActivations::kProducts});
  const uint64_t tight =
      recomputed.memory.total_bytes() - recomputed.memory.arena_bytes + least - 1000;
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
                                  {.tokens = Config().context_tokens,
                                   .recomputed_blocks = blocks,
                                   .kept = KeptActivations::kProducts});
  };
  const TrainingPlan all = *PlanTraining(*model_, layout, Config(), *backend_,
                                         {.memory_bytes = uint64_t{1} << 40}, Recompute::kFull);
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

// A device with 64 MiB of buffers and a workspace of 1 MiB for each graph; runs nothing.
class PlannedDevice : public Backend {
 public:
  static constexpr uint64_t kPlaced = uint64_t{64} << 20;
  explicit PlannedDevice(bool is_software) {
    info_.backend = "vulkan";
    info_.is_software = is_software;
  }
  [[nodiscard]] const DeviceInfo& info() const override { return info_; }
  [[nodiscard]] DeviceMemoryUse memory_use() const override { return {kPlaced, kPlaced}; }
  absl::StatusOr<uint64_t> WorkspaceBytes(const Graph& /*graph*/,
                                          const CompileOptions& /*options*/) override {
    return uint64_t{1} << 20;
  }
  absl::StatusOr<std::shared_ptr<DeviceBuffer>> WrapWeights(
      std::span<const uint8_t> /*bytes*/) override {
    return Nothing();
  }
  absl::StatusOr<std::shared_ptr<DeviceBuffer>> Allocate(uint64_t /*size_bytes*/) override {
    return Nothing();
  }
  absl::Status Write(DeviceBuffer& /*buffer*/, uint64_t /*offset_bytes*/,
                     std::span<const uint8_t> /*bytes*/) override {
    return Nothing();
  }
  absl::Status Read(const DeviceBuffer& /*buffer*/, uint64_t /*offset_bytes*/,
                    std::span<uint8_t> /*bytes*/) override {
    return Nothing();
  }
  [[nodiscard]] absl::Status Supports(const Graph& /*graph*/, const Node& /*node*/) const override {
    return absl::OkStatus();
  }
  absl::StatusOr<std::unique_ptr<Executable>> Compile(
      const Graph& /*graph*/, const std::map<TensorId, Binding>& /*bindings*/,
      const CompileOptions& /*options*/) override {
    return Nothing();
  }

 private:
  static absl::Status Nothing() { return absl::UnimplementedError("only for plans"); }
  DeviceInfo info_;
};

TEST_F(TrainerTest, APlanCountsTheProgramWhereverItsMemoryIs) {
  const AdapterLayout layout = LayoutOf(start_);
  const auto plan = [&](bool is_software, uint64_t (*program_bytes)()) {
    PlannedDevice device(is_software);
    return *PlanTraining(*model_, layout, Config(), device,
                         {.memory_bytes = uint64_t{1} << 40, .program_bytes = program_bytes},
                         Recompute::kOff);
  };
  constexpr uint64_t kProgram = uint64_t{200} << 20;
  const auto program = [] { return kProgram; };
  const uint64_t start_bytes = start_.ParameterCount() * sizeof(float);
  const TrainingPlan on_gpu = plan(false, program);
  EXPECT_EQ(on_gpu.host_bytes, plan(false, nullptr).host_bytes + kProgram - start_bytes);
  EXPECT_EQ(on_gpu.memory.total_bytes(), plan(false, nullptr).memory.total_bytes());
  // Of a software device what is on it already is among the program's pages.
  const TrainingPlan in_process = plan(true, program);
  EXPECT_EQ(in_process.host_bytes, 0U);
  EXPECT_EQ(in_process.memory.total_bytes(), plan(true, nullptr).memory.total_bytes() + kProgram -
                                                 start_bytes - PlannedDevice::kPlaced);
}

TEST_F(TrainerTest, APlanCountsWhatARunDoesBesideItsSteps) {
  const AdapterLayout layout = LayoutOf(start_);
  const auto total = [&](const BesideSteps& beside) {
    const auto plan = PlanTraining(*model_, layout, Config(), *backend_,
                                   {.memory_bytes = uint64_t{1} << 40}, Recompute::kOff, beside);
    EXPECT_TRUE(plan.ok()) << plan.status();
    return plan->memory.total_bytes();
  };
  const uint64_t adapter_bytes = start_.ParameterCount() * sizeof(float);
  const uint64_t steps = total({});
  EXPECT_EQ(total({.adapter_copies = 4, .evaluates = false}), steps + 4 * adapter_bytes);
  const auto eval = PlanForEvaluation(*model_, &layout, Config().context_tokens, backend_.get(),
                                      CompileOptions{.compute = Compute::kF32});
  ASSERT_TRUE(eval.ok()) << eval.status();
  EXPECT_GT(eval->workspace_bytes, 0u);
  EXPECT_EQ(total({.adapter_copies = 1, .evaluates = true}),
            steps + 2 * adapter_bytes + eval->arena_bytes + eval->workspace_bytes);
}

// Not of its three vectors, nor of the file: an adapter may take more memory than a step.
TEST_F(TrainerTest, ACheckpointTakesTheMemoryOfOneVector) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers keep what was freed";
#endif
  LoraConfig lora;
  lora.rank = 256;
  start_ = *InitAdapter(lora, model_->LoraTargets(), model_->spec().architecture, 5);
  const uint64_t adapter_bytes = start_.ParameterCount() * sizeof(float);
  ASSERT_GT(adapter_bytes, uint64_t{4} << 20);
  TrainConfig config = Config();
  config.micro_batches = 1;
  config.steps = 2;
  const auto trainer = Make(config, Documents(30));
  ASSERT_TRUE(absl::IsCancelled(RunFor(*trainer, 1, "")));
  if (!ResetPeakResident()) GTEST_SKIP() << "the system does not tell a process its peak";
  const uint64_t before = ResidentBytes();
  ASSERT_TRUE(absl::IsCancelled(RunFor(*trainer, 1, temp_.path() + "/checkpoint")));
  // One vector, and what the allocator does with small things beside it.
  EXPECT_LT(PeakResidentBytes(), before + adapter_bytes * 3 / 2);
}

TEST_F(TrainerTest, RecomputingBlocksGivesTheSameBits) {
  for (const KeptActivations level : {KeptActivations::kAll, KeptActivations::kPackedProducts}) {
    TrainConfig config = Config();
    config.kept = level;
    const auto kept = Make(config, Documents(30));
    ASSERT_TRUE(RunFor(*kept, 100, "").ok());
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
}

TEST_F(TrainerTest, KeepingProductsOnlyGivesTheSameBits) {
  TrainConfig config = Config();
  config.lora_dropout = 0.25;
  const auto all = Make(config, Documents(30));
  ASSERT_TRUE(RunFor(*all, 100, "").ok());
  config.kept = KeptActivations::kProducts;
  const auto selected = Make(config, Documents(30));
  ASSERT_TRUE(RunFor(*selected, 100, "").ok());
  EXPECT_EQ(StateOf(*selected).parameters, StateOf(*all).parameters);
  EXPECT_LT(selected->memory_use().arena_bytes, all->memory_use().arena_bytes);
}

TEST_F(TrainerTest, ActivationsArePackedWhereProductsRoundAndNowhereElse) {
  const auto plan = [this](Compute compute, Recompute recompute, uint64_t memory_bytes) {
    TrainConfig config = Config();
    config.compute = compute;
    const auto made = PlanTraining(*model_, LayoutOf(start_), config, *backend_,
                                   {.memory_bytes = memory_bytes}, recompute);
    EXPECT_TRUE(made.ok()) << made.status();
    return made.value_or(TrainingPlan{});
  };
  constexpr uint64_t kMuch = uint64_t{1} << 40;
  EXPECT_EQ(plan(Compute::kF32, Recompute::kSelective, kMuch).kept, KeptActivations::kProducts);
  // The model is too small for bf16 to pay.
  EXPECT_EQ(plan(Compute::kAuto, Recompute::kSelective, kMuch).kept, KeptActivations::kProducts);
  if (!RoundsProducts(Compute::kBf16, backend_->info())) GTEST_SKIP() << "no bf16 products here";
  EXPECT_EQ(plan(Compute::kBf16, Recompute::kSelective, kMuch).kept,
            KeptActivations::kPackedProducts);
  EXPECT_EQ(plan(Compute::kBf16, Recompute::kFull, kMuch).kept, KeptActivations::kAll);
  const TrainingPlan off = plan(Compute::kBf16, Recompute::kAuto, kMuch);
  EXPECT_EQ(off.kept, KeptActivations::kAll);
  // A little more than 80 % of the memory.
  const TrainingPlan less =
      plan(Compute::kBf16, Recompute::kAuto, off.memory.total_bytes() * 100 / 80 - 1000);
  EXPECT_EQ(less.kept, KeptActivations::kPackedProducts);
  EXPECT_EQ(less.recomputed_blocks, 0);
  EXPECT_LT(less.memory.arena_bytes, off.memory.arena_bytes / 2);
  // Where all blocks are recomputed and still weights must be streamed, nothing is rounded: the
  // result is that of a large memory.
  const TrainingPlan full = plan(Compute::kBf16, Recompute::kFull, kMuch);
  const TrainingPlan least =
      plan(Compute::kBf16, Recompute::kAuto, full.memory.total_bytes() - 1000);
  EXPECT_EQ(least.kept, KeptActivations::kAll);
  EXPECT_EQ(least.recomputed_blocks, full.recomputed_blocks);
  EXPECT_TRUE(least.weights.streams_blocks());
}

}  // namespace
}  // namespace choir::engine
