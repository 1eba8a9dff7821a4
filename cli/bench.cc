// `choir bench`: how fast this machine trains and generates, beside what it can do at best.

#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "base/file.h"
#include "base/process_memory.h"
#include "base/status_macros.h"
#include "bench/infer_measure.h"
#include "bench/machine_limits.h"
#include "bench/model_shape.h"
#include "bench/random_model.h"
#include "bench/train_measure.h"
#include "cli/bench_report.h"
#include "cli/command.h"
#include "cli/data_options.h"
#include "cli/engine_session.h"
#include "cli/failure.h"
#include "cli/train_options.h"
#include "engine/infer/cached_model.h"
#include "engine/lora/lora_config.h"
#include "engine/quant/weight_format.h"
#include "engine/train/compute_choice.h"
#include "engine/train/training_plan.h"

namespace choir::cli {
namespace {

// More than the last-level caches of desktop processors hold, together with the other threads'.
constexpr int64_t kBandwidthBytes = int64_t{128} << 20;
constexpr double kPeakSeconds = 0.6;

struct Options {
  std::string what = "all";
  std::string shape = "llama-134m";
  std::string model;
  std::string tokenizer;
  std::string format = "Q8_0";
  std::string data;
  std::string folder;
  std::string modules = "all";
  std::string recompute = "auto";
  std::string budget;
  std::string trace;
  int64_t context_tokens = 256;
  int64_t batch = 1;
  int64_t steps = 5;
  int64_t prompt_batch = engine::CachedModelOptions{}.prompt_tokens;
  int64_t new_tokens = 32;
  int rank = 8;
  bool quick = false;
  bool profile = false;
  DeviceOptions device;
};

class BenchCommand {
 public:
  BenchCommand(const Options& options, Environment& environment)
      : options_(options), environment_(environment) {}
  absl::Status Run();

 private:
  absl::Status OpenModelAndBackend();
  absl::Status MeasureLimits();
  absl::Status MeasureBandwidth();
  absl::Status Train();
  absl::Status Infer();
  absl::StatusOr<engine::TrainingData> Data();
  absl::Status WriteTrace() const;
  [[nodiscard]] bool Wants(std::string_view what) const {
    return options_.what == "all" || options_.what == what;
  }

  Options options_;
  Environment& environment_;
  BenchReport report_;
  std::unique_ptr<engine::Backend> backend_;
  std::unique_ptr<engine::Model> model_;
  std::unique_ptr<engine::DeviceModel> weights_;
};

absl::StatusOr<std::unique_ptr<engine::Model>> RandomModel(const Options& options) {
  bench::ModelShape shape = bench::kQuickShape;
  if (!options.quick) {
    CHOIR_ASSIGN_OR_RETURN(shape, bench::FindModelShape(options.shape));
  }
  const engine::WeightFormat* format = engine::FindWeightFormat(std::string_view(options.format));
  if (format == nullptr || format->quantize_row == nullptr) {
    return UsageError(fmt::format("--dtype {}: no weight format of this name", options.format),
                      "one of F32, F16, BF16, Q8_0, Q6_K, Q5_K, Q4_K, Q4_0, TQ2_0, TQ1_0, ...");
  }
  std::optional<engine::GgufFile> tokenizer;
  if (!options.tokenizer.empty()) {
    CHOIR_ASSIGN_OR_RETURN(tokenizer, OpenModelFile(options.tokenizer));
    const auto tokens = tokenizer->GetStringArray("tokenizer.ggml.tokens");
    if (!tokens.ok()) return BadInput("tokenizer", options.tokenizer, tokens.status());
    shape.vocabulary = static_cast<int64_t>(tokens->size());
  }
  const std::string folder =
      options.folder.empty() ? std::filesystem::temp_directory_path().string() : options.folder;
  auto model = bench::MakeRandomModel(shape, *format, tokenizer ? &*tokenizer : nullptr, folder);
  if (!model.ok()) {
    return WithHint(model.status(), "--folder names a place with room for the temporary model");
  }
  return std::make_unique<engine::Model>(*std::move(model));
}

absl::Status BenchCommand::OpenModelAndBackend() {
  options_.device.profile = options_.profile || !options_.trace.empty();
  CHOIR_ASSIGN_OR_RETURN(backend_, OpenBackend(options_.device));
  if (options_.model.empty()) {
    CHOIR_ASSIGN_OR_RETURN(model_, RandomModel(options_));
  } else {
    CHOIR_ASSIGN_OR_RETURN(model_, OpenModel(options_.model));
  }
  BenchHead& head = report_.head;
  head.device = backend_->info();
  head.context_tokens = options_.context_tokens;
  head.profile = options_.profile;
  head.shape = !options_.model.empty() ? std::filesystem::path(options_.model).filename().string()
               : options_.quick        ? std::string(bench::kQuickShape.name)
                                       : options_.shape;
  const engine::GgufTensor* const first = model_->file().FindTensor("blk.0.attn_q.weight");
  if (first != nullptr) {
    CHOIR_ASSIGN_OR_RETURN(const engine::TensorDesc desc, engine::WeightDesc(*first));
    head.format = std::string(desc.format->name);
  }
  return absl::OkStatus();
}

// Of the CPU only: no interface asks a GPU for its best.
absl::Status BenchCommand::MeasureLimits() {
  BenchHead& head = report_.head;
  if (head.device.backend != "cpu") return absl::OkStatus();
  head.threads = options_.device.threads > 0
                     ? options_.device.threads
                     : static_cast<int>(std::thread::hardware_concurrency());
  const engine::Compute compute = engine::ChooseCompute(ComputeOf(options_.device), model_->spec());
  head.bf16 = compute != engine::Compute::kF32 && engine::CpuHasFastBf16();
  const auto type = head.bf16 ? engine::GemmType::kBf16 : engine::GemmType::kF32;
  CHOIR_ASSIGN_OR_RETURN(
      head.gemm_peak_gflops,
      bench::MeasureGemmPeak(model_->spec(), options_.context_tokens, type, head.threads,
                             options_.quick ? kPeakSeconds / 10 : kPeakSeconds));
  return MeasureBandwidth();
}

// Before and after what is compared with it: on a shared machine it changes within seconds.
absl::Status BenchCommand::MeasureBandwidth() {
  BenchHead& head = report_.head;
  if (head.threads == 0) return absl::OkStatus();
  const int64_t bytes = options_.quick ? kBandwidthBytes / 16 : kBandwidthBytes;
  CHOIR_ASSIGN_OR_RETURN(const double rate, bench::MeasureReadBandwidth(head.threads, bytes));
  head.read_gb_per_s = std::max(head.read_gb_per_s, rate);
  return absl::OkStatus();
}

absl::StatusOr<engine::TrainingData> BenchCommand::Data() {
  if (options_.data.empty()) {
    return bench::MadeUpData(model_->spec().vocabulary, options_.context_tokens);
  }
  DataOptions data;
  data.context_tokens = options_.context_tokens;
  return LoadData("data", options_.data, *model_, data, DataUse::kTraining, 0, environment_.output);
}

absl::Status BenchCommand::Train() {
  const auto modules = engine::LoraModuleSet::Parse(options_.modules);
  if (!modules.ok()) return UsageError(fmt::format("--modules: {}", MessageOf(modules.status())));
  engine::LoraConfig lora;
  lora.rank = options_.rank;
  lora.modules = *modules;
  CHOIR_ASSIGN_OR_RETURN(
      engine::Adapter start,
      engine::InitAdapter(lora, model_->LoraTargets(), model_->spec().architecture, 0));
  engine::TrainConfig config;
  config.steps = options_.steps;
  config.context_tokens = options_.context_tokens;
  config.micro_batches = options_.batch;
  config.compute = ComputeOf(options_.device);
  const auto recompute = options_.recompute == "on"    ? engine::Recompute::kOn
                         : options_.recompute == "off" ? engine::Recompute::kOff
                                                       : engine::Recompute::kAuto;
  CHOIR_ASSIGN_OR_RETURN(engine::TrainingData data, Data());
  CHOIR_ASSIGN_OR_RETURN(const uint64_t memory_bytes, MemoryFor(options_.budget, backend_->info()));
  CHOIR_ASSIGN_OR_RETURN(const engine::TrainingPlan plan,
                         engine::PlanTraining(*model_, engine::LayoutOf(start), config, *backend_,
                                              {memory_bytes, &ResidentBytes}, recompute));
  CHOIR_RETURN_IF_ERROR(engine::CheckFits(plan, backend_->info(), memory_bytes));
  const bool in_place = backend_->info().backend == "cpu";
  if (in_place) {
    CHOIR_ASSIGN_OR_RETURN(*weights_, engine::DeviceModel::Load(*backend_, *model_, plan.weights));
  }
  config.recomputed_blocks = plan.recomputed_blocks;
  BenchTraining train{.measured = {},
                      .batch = options_.batch,
                      .rank = options_.rank,
                      .modules = modules->ToString(),
                      .recomputed_blocks = plan.recomputed_blocks,
                      .blocks = static_cast<int64_t>(model_->spec().layers.size()),
                      .streams = plan.weights.streams_blocks(),
                      .predicted_bytes = plan.memory.total_bytes()};
  CHOIR_ASSIGN_OR_RETURN(train.measured,
                         bench::MeasureTraining({*model_, *backend_, *weights_, std::move(start),
                                                 config, environment_.clock},
                                                std::move(data)));
  report_.train = std::move(train);
  if (!in_place) return absl::OkStatus();
  CHOIR_ASSIGN_OR_RETURN(*weights_, engine::DeviceModel::Load(*backend_, *model_));
  return absl::OkStatus();
}

absl::Status BenchCommand::Infer() {
  const bench::InferSetup setup{
      .model = *model_,
      .backend = *backend_,
      .weights = *weights_,
      .compute = engine::ChooseCompute(ComputeOf(options_.device), model_->spec()),
      .prompt_tokens = options_.context_tokens,
      .prompt_batch = std::min(options_.prompt_batch, options_.context_tokens),
      .new_tokens = options_.new_tokens,
      .clock = environment_.clock};
  if (Wants("prompt")) {
    CHOIR_ASSIGN_OR_RETURN(report_.prompt, bench::MeasurePrompt(setup));
  }
  if (Wants("generate")) {
    CHOIR_ASSIGN_OR_RETURN(report_.generate, bench::MeasureGeneration(setup));
    CHOIR_RETURN_IF_ERROR(MeasureBandwidth());
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
  if (options_.quick) {
    options_.context_tokens = std::min<int64_t>(options_.context_tokens, 32);
    options_.steps = 1;
    options_.new_tokens = 2;
  }
  CHOIR_RETURN_IF_ERROR(OpenModelAndBackend());
  CHOIR_RETURN_IF_ERROR(MeasureLimits());
  ReleaseFreedMemory();
  ResetPeakResident();
  CHOIR_ASSIGN_OR_RETURN(engine::DeviceModel weights,
                         engine::DeviceModel::Load(*backend_, *model_));
  report_.head.weight_bytes = weights.weight_bytes();
  weights_ = std::make_unique<engine::DeviceModel>(std::move(weights));
  if (Wants("train")) CHOIR_RETURN_IF_ERROR(Train());
  CHOIR_RETURN_IF_ERROR(Infer());
  CHOIR_RETURN_IF_ERROR(WriteTrace());
  environment_.output.Line(DescribeBench(report_));
  environment_.output.Json(BenchToJson(report_));
  return absl::OkStatus();
}

void AddModelOptions(CLI::App& app, Options& options) {
  constexpr const char* kGroup = "Model";
  CLI::Option* shape =
      app.add_option("--shape", options.shape, "A network of known size, with random weights")
          ->check(OneOf(bench::ModelShapeNames()))
          ->type_name("NAME")
          ->capture_default_str()
          ->group(kGroup);
  app.add_option("--model", options.model, "A model file (GGUF) instead")
      ->type_name("FILE")
      ->excludes(shape)
      ->group(kGroup);
  app.add_option("--dtype", options.format, "Weight format of the random weights")
      ->type_name("FORMAT")
      ->capture_default_str()
      ->group(kGroup);
  app.add_option("--tokenizer", options.tokenizer,
                 "Take the tokenizer of this file (GGUF), for --data with --shape")
      ->type_name("FILE")
      ->group(kGroup);
  app.add_option("--folder", options.folder,
                 "Where the temporary model lies while it is used (default: the system's)")
      ->type_name("FOLDER")
      ->group(kGroup);
}

void AddTrainingOptions(CLI::App& app, Options& options) {
  constexpr const char* kGroup = "Training";
  const auto count = [&](const char* name, int64_t& value, const char* what) {
    app.add_option(name, value, what)
        ->check(CLI::Range(int64_t{1}, int64_t{1} << 20).description(""))
        ->type_name("N")
        ->capture_default_str()
        ->group(kGroup);
  };
  count("--ctx", options.context_tokens, "Tokens of a micro-batch, and of a prompt");
  count("--batch", options.batch, "Micro-batches in a step");
  count("--steps", options.steps, "Steps that are timed; one more comes before them");
  app.add_option("--rank", options.rank, "Rank of the LoRA matrices")
      ->check(CLI::Range(1, engine::kMaxLoraRank).description(""))
      ->type_name("N")
      ->capture_default_str()
      ->group(kGroup);
  app.add_option("--modules", options.modules, "all, attn, or a list (see `choir train --help`)")
      ->type_name("LIST")
      ->capture_default_str()
      ->group(kGroup);
  app.add_option("--recompute", options.recompute, "Recompute activations: auto, on, off")
      ->check(OneOf({"auto", "on", "off"}))
      ->type_name("WHEN")
      ->capture_default_str()
      ->group(kGroup);
  AddBudgetOption(app, options.budget, kGroup);
  app.add_option("--data", options.data, "Train on this data; only its real tokens count")
      ->type_name("PATH")
      ->group(kGroup);
}

Action Declare(CLI::App& app) {
  auto options = std::make_shared<Options>();
  app.add_option("what", options->what, "train, prompt, generate, or all")
      ->check(OneOf({"train", "prompt", "generate", "all"}))
      ->type_name("WHAT")
      ->capture_default_str();
  AddModelOptions(app, *options);
  AddTrainingOptions(app, *options);
  app.add_option("-n,--new-tokens", options->new_tokens, "Tokens to generate")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20).description(""))
      ->type_name("N")
      ->capture_default_str();
  app.add_option("--prompt-batch", options->prompt_batch, "Tokens of a prompt at once")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20).description(""))
      ->type_name("N")
      ->capture_default_str();
  app.add_flag("--quick", options->quick, "A tiny model and one step: does everything work?");
  app.add_flag("--profile", options->profile, "Time, rate and share of each operation");
  app.add_option("--trace", options->trace, "Write the last run as a Chrome trace (JSON)")
      ->type_name("FILE");
  AddDeviceOptions(app, options->device);
  app.footer(
      "Rates are those of the fastest step or run; the mean stands beside them. \"The best\" is\n"
      "measured in the same run: oneDNN at the shapes of the model with every thread busy, and\n"
      "reading memory with every thread. Real tokens are counted, never padding.\n\n"
      "Examples:\n"
      "  choir bench\n"
      "  choir bench train --shape qwen3-0.6b --dtype Q8_0 --ctx 128 --profile\n"
      "  choir bench train --data items.jsonl --tokenizer base.gguf --json\n"
      "  choir bench generate --model base.gguf --backend vulkan\n");
  return [options](Environment& environment) { return BenchCommand(*options, environment).Run(); };
}

}  // namespace

const Command kBenchCommand = {"bench", "Measure this machine: training, prompts, generation",
                               &Declare};

}  // namespace choir::cli
