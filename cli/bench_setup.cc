#include "cli/bench_setup.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "bench/machine_limits.h"
#include "bench/model_shape.h"
#include "bench/random_model.h"
#include "cli/data_options.h"
#include "cli/engine_session.h"
#include "cli/failure.h"
#include "engine/lora/lora_config.h"
#include "engine/quant/weight_format.h"
#include "engine/train/compute_choice.h"

namespace choir::cli {
namespace {

// More than the last-level caches of desktop processors hold, together with the other threads'.
constexpr int64_t kBandwidthBytes = int64_t{128} << 20;
constexpr double kPeakSeconds = 0.6;

absl::StatusOr<std::unique_ptr<engine::Model>> RandomModel(const BenchOptions& options,
                                                           const std::string& format_name) {
  bench::ModelShape shape = bench::kQuickShape;
  if (!options.quick) {
    CHOIR_ASSIGN_OR_RETURN(shape, bench::FindModelShape(options.shape));
  }
  const engine::WeightFormat* format = engine::FindWeightFormat(std::string_view(format_name));
  if (format == nullptr || format->quantize_row == nullptr) {
    return UsageError(fmt::format("--dtype {}: no weight format of this name", format_name),
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

}  // namespace

void MakeQuick(BenchOptions& options) {
  options.context_tokens = std::min<int64_t>(options.context_tokens, 32);
  options.steps = 1;
  options.new_tokens = 2;
}

absl::StatusOr<std::unique_ptr<engine::Model>> BenchModel(const BenchOptions& options,
                                                          const std::string& format) {
  return options.model.empty() ? RandomModel(options, format) : OpenModel(options.model);
}

absl::StatusOr<std::string> FormatNameOf(const engine::Model& model) {
  const engine::GgufTensor* const first = model.file().FindTensor("blk.0.attn_q.weight");
  if (first == nullptr) return "";
  CHOIR_ASSIGN_OR_RETURN(const engine::TensorDesc desc, engine::WeightDesc(*first));
  return std::string(desc.format->name);
}

BenchHead BenchHeadOf(const BenchOptions& options, const engine::Backend& backend) {
  BenchHead head;
  head.device = backend.info();
  head.context_tokens = options.context_tokens;
  head.profile = options.profile;
  head.shape = !options.model.empty() ? std::filesystem::path(options.model).filename().string()
               : options.quick        ? std::string(bench::kQuickShape.name)
                                      : options.shape;
  return head;
}

std::string ModulesOf(const BenchOptions& options) {
  const auto modules = engine::LoraModuleSet::Parse(options.modules);
  return modules.ok() ? modules->ToString() : "";
}

absl::StatusOr<engine::Adapter> BenchAdapter(const BenchOptions& options,
                                             const engine::Model& model) {
  const auto modules = engine::LoraModuleSet::Parse(options.modules);
  if (!modules.ok()) return UsageError(fmt::format("--modules: {}", MessageOf(modules.status())));
  engine::LoraConfig lora;
  lora.rank = options.rank;
  lora.modules = *modules;
  return engine::InitAdapter(lora, model.LoraTargets(), model.spec().architecture, 0);
}

engine::TrainConfig BenchTrainConfig(const BenchOptions& options) {
  engine::TrainConfig config;
  config.steps = options.steps;
  config.context_tokens = options.context_tokens;
  config.micro_batches = options.batch;
  config.compute = ComputeOf(options.device);
  return config;
}

absl::StatusOr<engine::TrainingData> BenchData(const BenchOptions& options,
                                               const engine::Model& model,
                                               Environment& environment) {
  if (options.data.empty()) {
    return bench::MadeUpData(model.spec().vocabulary, options.context_tokens);
  }
  DataOptions data;
  data.context_tokens = options.context_tokens;
  return LoadData("data", options.data, model, data, DataUse::kTraining, 0, environment.output);
}

bench::InferSetup BenchInferSetup(const BenchOptions& options, const engine::Model& model,
                                  engine::Backend& backend, const engine::DeviceModel& weights,
                                  const engine::DeviceAdapter* adapter, const Clock& clock) {
  return {.model = model,
          .backend = backend,
          .weights = weights,
          .adapter = adapter,
          .compute = engine::ChooseCompute(ComputeOf(options.device), model.spec()),
          .prompt_tokens = options.context_tokens,
          .prompt_batch = std::min(options.prompt_batch, options.context_tokens),
          .new_tokens = options.new_tokens,
          .clock = clock};
}

int BenchThreads(const BenchOptions& options) {
  return options.device.threads > 0 ? options.device.threads
                                    : static_cast<int>(std::thread::hardware_concurrency());
}

absl::Status MeasureLimits(const BenchOptions& options, const engine::ModelSpec& spec,
                           BenchHead& head) {
  if (head.device.backend != "cpu") return absl::OkStatus();
  head.threads = BenchThreads(options);
  const engine::Compute compute = engine::ChooseCompute(ComputeOf(options.device), spec);
  head.bf16 = compute != engine::Compute::kF32 && engine::CpuHasFastBf16();
  const auto type = head.bf16 ? engine::GemmType::kBf16 : engine::GemmType::kF32;
  CHOIR_ASSIGN_OR_RETURN(const double peak,
                         bench::MeasureGemmPeak(spec, options.context_tokens, type, head.threads,
                                                options.quick ? kPeakSeconds / 10 : kPeakSeconds));
  head.gemm_peaks_gflops.push_back(peak);
  return MeasureBandwidth(options, head);
}

absl::Status MeasureBandwidth(const BenchOptions& options, BenchHead& head) {
  if (head.threads == 0) return absl::OkStatus();
  const int64_t bytes = options.quick ? kBandwidthBytes / 16 : kBandwidthBytes;
  CHOIR_ASSIGN_OR_RETURN(const double rate, bench::MeasureReadBandwidth(head.threads, bytes));
  head.read_gb_per_s = std::max(head.read_gb_per_s, rate);
  return absl::OkStatus();
}

}  // namespace choir::cli
