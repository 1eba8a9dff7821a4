// `choir bench`: how fast this machine trains and generates, beside what it can do at best.

#include <memory>
#include <string>
#include <utility>

#include "base/file.h"
#include "base/process_memory.h"
#include "base/status_macros.h"
#include "bench/train_measure.h"
#include "cli/bench_compare.h"
#include "cli/bench_options.h"
#include "cli/bench_report.h"
#include "cli/bench_setup.h"
#include "cli/command.h"
#include "cli/engine_session.h"
#include "cli/recompute_option.h"
#include "cli/train_options.h"
#include "engine/train/training_plan.h"

namespace choir::cli {
namespace {

class BenchCommand {
 public:
  BenchCommand(const BenchOptions& options, Environment& environment)
      : options_(options), environment_(environment) {}
  absl::Status Run();

 private:
  absl::Status OpenModelAndBackend();
  absl::Status Train();
  absl::Status Infer();
  absl::Status WriteTrace() const;

  BenchOptions options_;
  Environment& environment_;
  BenchReport report_;
  std::unique_ptr<engine::Backend> backend_;
  std::unique_ptr<engine::Model> model_;
  std::unique_ptr<engine::DeviceModel> weights_;
};

absl::Status BenchCommand::OpenModelAndBackend() {
  options_.device.profile = options_.profile || !options_.trace.empty();
  CHOIR_ASSIGN_OR_RETURN(backend_, OpenBackend(options_.device));
  CHOIR_ASSIGN_OR_RETURN(model_, BenchModel(options_, options_.formats));
  report_.head = BenchHeadOf(options_, *backend_);
  CHOIR_ASSIGN_OR_RETURN(report_.head.format, FormatNameOf(*model_));
  return absl::OkStatus();
}

absl::Status BenchCommand::Train() {
  CHOIR_ASSIGN_OR_RETURN(engine::Adapter start, BenchAdapter(options_, *model_));
  engine::TrainConfig config = BenchTrainConfig(options_);
  CHOIR_ASSIGN_OR_RETURN(engine::TrainingData data, BenchData(options_, *model_, environment_));
  CHOIR_ASSIGN_OR_RETURN(const uint64_t memory_bytes, MemoryFor(options_.budget, backend_->info()));
  CHOIR_ASSIGN_OR_RETURN(
      const engine::TrainingPlan plan,
      engine::PlanTraining(*model_, engine::LayoutOf(start), config, *backend_,
                           {memory_bytes, &ResidentBytes}, RecomputeOf(options_.recompute)));
  CHOIR_RETURN_IF_ERROR(engine::CheckFits(plan, backend_->info(), memory_bytes));
  const bool in_place = backend_->info().backend == "cpu";
  if (in_place) {
    CHOIR_ASSIGN_OR_RETURN(*weights_, engine::DeviceModel::Load(*backend_, *model_, plan.weights));
  }
  config.recomputed_blocks = plan.recomputed_blocks;
  config.kept = plan.kept;
  BenchTraining train{.measured = {},
                      .batch = options_.batch,
                      .rank = options_.rank,
                      .modules = ModulesOf(options_),
                      .recomputed_blocks = plan.recomputed_blocks,
                      .kept = plan.kept,
                      .blocks = static_cast<int64_t>(model_->spec().layers.size()),
                      .streams = plan.weights.streams_blocks(),
                      .predicted_bytes = plan.memory.total_bytes(),
                      .predicted_host_bytes = plan.host_bytes,
                      .device_bytes = 0};
  CHOIR_ASSIGN_OR_RETURN(train.measured,
                         bench::MeasureTraining({*model_, *backend_, *weights_, std::move(start),
                                                 config, environment_.clock},
                                                std::move(data)));
  train.device_bytes = backend_->memory_use().most_bytes;
  report_.train = std::move(train);
  if (!in_place) return absl::OkStatus();
  CHOIR_ASSIGN_OR_RETURN(*weights_, engine::DeviceModel::Load(*backend_, *model_));
  return absl::OkStatus();
}

absl::Status BenchCommand::Infer() {
  const bench::InferSetup setup =
      BenchInferSetup(options_, *model_, *backend_, *weights_, nullptr, environment_.clock);
  if (options_.Wants("prompt")) {
    CHOIR_ASSIGN_OR_RETURN(report_.prompt, bench::MeasurePrompt(setup));
  }
  if (options_.Wants("generate")) {
    CHOIR_ASSIGN_OR_RETURN(report_.generate, bench::MeasureGeneration(setup));
    CHOIR_RETURN_IF_ERROR(MeasureBandwidth(options_, report_.head));
  }
  return absl::OkStatus();
}

// Of the first thing that was measured: one trace shows one program.
absl::Status BenchCommand::WriteTrace() const {
  if (options_.trace.empty()) return absl::OkStatus();
  const std::string& trace = report_.train    ? report_.train->measured.chrome_trace
                             : report_.prompt ? report_.prompt->chrome_trace
                                              : report_.generate->chrome_trace;
  return AtomicWriteFile(options_.trace, trace);
}

absl::Status BenchCommand::Run() {
  CHOIR_RETURN_IF_ERROR(OpenModelAndBackend());
  CHOIR_RETURN_IF_ERROR(MeasureLimits(options_, model_->spec(), report_.head));
  ReleaseFreedMemory();
  ResetPeakResident();
  CHOIR_ASSIGN_OR_RETURN(engine::DeviceModel weights,
                         engine::DeviceModel::Load(*backend_, *model_));
  report_.head.weight_bytes = weights.weight_bytes();
  weights_ = std::make_unique<engine::DeviceModel>(std::move(weights));
  if (options_.Wants("train")) CHOIR_RETURN_IF_ERROR(Train());
  CHOIR_RETURN_IF_ERROR(Infer());
  CHOIR_RETURN_IF_ERROR(WriteTrace());
  report_.head.device = backend_->info();  // by now it knows the ways of its products
  environment_.output.Line(DescribeBench(report_));
  environment_.output.Json(BenchToJson(report_));
  return absl::OkStatus();
}

Action Declare(CLI::App& app) {
  auto options = std::make_shared<BenchOptions>();
  AddBenchOptions(app, *options);
  app.footer(
      "Rates are those of the fastest step or run; the mean stands beside them. \"The best\" is\n"
      "measured in the same run: oneDNN at the shapes of the model with every thread busy, and\n"
      "reading memory with every thread. Real tokens are counted, never padding.\n\n"
      "Several formats (or --lora) are set up in one process and take turns, step by step: what\n"
      "slows the machine slows them all. Memory is then theirs together, so it is not shown.\n\n"
      "Examples:\n"
      "  choir bench\n"
      "  choir bench train --shape qwen3-0.6b --dtype Q8_0 --ctx 128 --profile\n"
      "  choir bench train --dtype F32,BF16,Q8_0,Q4_0,Q4_K,TQ2_0 --steps 40\n"
      "  choir bench train --data items.jsonl --tokenizer base.gguf --json\n"
      "  choir bench generate --shape qwen3-0.6b --lora -n 64\n"
      "  choir bench generate --model base.gguf --backend vulkan\n");
  return [options](Environment& environment) -> absl::Status {
    if (options->quick) MakeQuick(*options);
    if (options->Formats().size() > 1 || options->lora) return CompareInTurn(*options, environment);
    return BenchCommand(*options, environment).Run();
  };
}

}  // namespace

const Command kBenchCommand = {"bench", "Measure this machine: training, prompts, generation",
                               &Declare};

}  // namespace choir::cli
