#include "cli/train_options.h"

#include <cmath>
#include <optional>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "cli/command.h"
#include "cli/engine_session.h"
#include "cli/failure.h"
#include "cli/humane.h"
#include "cli/recompute_option.h"
#include "engine/lora/lora_config.h"
#include "engine/lora/lora_pattern.h"

namespace choir::cli {
namespace {

constexpr int kDefaultRank = 8;
constexpr float kDefaultAlpha = 16;

void AddAdapterOptions(CLI::App& app, TrainOptions& options) {
  constexpr const char* kGroup = "Adapter";
  app.add_option("--rank", options.rank, "Rank of the LoRA matrices (default 8)")
      ->check(CLI::Range(1, engine::kMaxLoraRank).description(""))
      ->type_name("N")
      ->group(kGroup);
  app.add_option("--alpha", options.alpha, "Its strength: scale = alpha / rank (default 16)")
      ->check(CLI::PositiveNumber.description(""))
      ->type_name("X")
      ->group(kGroup);
  app.add_option(
         "--modules", options.modules,
         "all (seven of each block), attn, or a list of attn_q, attn_k, attn_v, attn_output, "
         "ffn_gate, ffn_up, ffn_down, output, token_embd (default all)")
      ->type_name("LIST")
      ->group(kGroup);
  app.add_option("--rank-pattern", options.rank_pattern,
                 "Other ranks for some layers, as attn_q=16,blk.0=4,blk.1.ffn_up=2; the first that "
                 "matches counts")
      ->type_name("LIST")
      ->group(kGroup);
  app.add_option("--alpha-pattern", options.alpha_pattern, "The same for alpha")
      ->type_name("LIST")
      ->group(kGroup);
  app.add_flag("--rslora", options.rslora, "scale = alpha / sqrt(rank)")->group(kGroup);
  app.add_option("--dropout", options.dropout,
                 "Share of an adapter's input that training leaves out, at random (default 0)")
      ->check(CLI::Range(0.0, static_cast<double>(engine::kMaxLoraDropout)).description(""))
      ->type_name("P")
      ->group(kGroup);
  app.add_option("--init", options.init, "Go on with this adapter instead of a fresh one")
      ->type_name("PATH")
      ->group(kGroup);
  app.add_option("--seed", options.seed, "Of the first A, and of the order of the data")
      ->type_name("N")
      ->capture_default_str()
      ->group(kGroup);
}

void AddRunOptions(CLI::App& app, TrainOptions& options) {
  constexpr const char* kGroup = "Training";
  CLI::Option* steps = app.add_option("--steps", options.steps, "Optimizer steps")
                           ->check(CLI::Range(int64_t{1}, int64_t{1} << 40).description(""))
                           ->type_name("N")
                           ->group(kGroup);
  app.add_option("--epochs", options.epochs, "Passes over the data, if there are no --steps")
      ->check(CLI::PositiveNumber.description(""))
      ->type_name("X")
      ->capture_default_str()
      ->excludes(steps)
      ->group(kGroup);
  app.add_option("--batch", options.batch, "Micro-batches of --ctx tokens in a step")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 16).description(""))
      ->type_name("N")
      ->capture_default_str()
      ->group(kGroup);
  app.add_option("--lr", options.learning_rate, "Peak learning rate of AdamW")
      ->type_name("X")
      ->capture_default_str()
      ->group(kGroup);
  app.add_option("--schedule", options.schedule, "After the warm-up: constant, linear or cosine")
      ->check(OneOf({"constant", "linear", "cosine"}))
      ->type_name("HOW")
      ->capture_default_str()
      ->group(kGroup);
  app.add_option("--warmup", options.warmup, "Steps in which the rate rises to its peak")
      ->type_name("N")
      ->group(kGroup);
  app.add_option("--weight-decay", options.weight_decay, "Decoupled weight decay")
      ->type_name("X")
      ->group(kGroup);
  app.add_option("--max-grad-norm", options.max_gradient_norm,
                 "Scale a larger gradient down to this norm; 0: never")
      ->type_name("X")
      ->group(kGroup);
  app.add_option("--factors", options.factors, "Train both, only a, or only b")
      ->check(OneOf({"both", "a", "b"}))
      ->type_name("WHICH")
      ->group(kGroup);
  AddRecomputeOption(app, options.recompute, kGroup);
  AddBudgetOption(app, options.budget, kGroup);
}

absl::Status Mismatch(const TrainOptions& options, std::string_view option, std::string_view asked,
                      std::string_view has) {
  return UsageError(
      fmt::format("{} {} does not match {}, which has {}", option, asked, options.init, has),
      fmt::format("leave {} out: the adapter of --init has its own", option));
}

// What the user asked for besides --init must be what the file holds. `wanted` is a fresh adapter
// with what was asked for, and the file's rank and alpha where nothing was.
absl::Status CheckInitMatches(const TrainOptions& options, const engine::Adapter& adapter,
                              const engine::Adapter& wanted) {
  const int64_t rank = adapter.pairs.front().rank;
  if (wanted.pairs.front().rank != rank) {
    return Mismatch(options, "--rank", std::to_string(options.rank), std::to_string(rank));
  }
  const bool alpha_asked = options.alpha != 0 || options.rslora;
  if (alpha_asked && std::abs(wanted.alpha - adapter.alpha) > 1e-6f * adapter.alpha) {
    return Mismatch(options, "--alpha", fmt::format("{}", options.alpha),
                    fmt::format("{}", adapter.alpha));
  }
  if (!options.modules.empty() && !SameShape(wanted, adapter)) {
    return Mismatch(options, "--modules", options.modules,
                    fmt::format("{} adapted layers", adapter.pairs.size()));
  }
  return absl::OkStatus();
}

absl::StatusOr<engine::LoraConfig> LoraConfigOf(const TrainOptions& options) {
  engine::LoraConfig config;
  config.rank = options.rank != 0 ? options.rank : kDefaultRank;
  config.alpha = options.alpha != 0 ? options.alpha : kDefaultAlpha;
  config.rslora = options.rslora;
  if (!options.modules.empty()) {
    const auto modules = engine::LoraModuleSet::Parse(options.modules);
    if (!modules.ok()) return UsageError(fmt::format("--modules: {}", MessageOf(modules.status())));
    config.modules = *modules;
  }
  return config;
}

absl::StatusOr<engine::LoraPattern> PatternOf(std::string_view option, const std::string& text) {
  absl::StatusOr<engine::LoraPattern> pattern = engine::LoraPattern::Parse(text);
  if (!pattern.ok()) return UsageError(fmt::format("{}: {}", option, MessageOf(pattern.status())));
  return pattern;
}

}  // namespace

void AddTrainOptions(CLI::App& app, TrainOptions& options) {
  AddModelOption(app, options.model);
  AddAdapterOptions(app, options);
  AddRunOptions(app, options);
  AddDataOptions(app, options.data);
  AddOrderOption(app, options.data);
  AddDeviceOptions(app, options.device);
}

namespace {

absl::StatusOr<engine::Adapter> AdapterWithoutDropout(const TrainOptions& options,
                                                      const engine::Model& model) {
  CHOIR_ASSIGN_OR_RETURN(engine::LoraConfig config, LoraConfigOf(options));
  engine::Adapter adapter;
  if (!options.init.empty()) {
    CHOIR_ASSIGN_OR_RETURN(adapter, ReadAdapterFor(model, options.init));
    if (options.rank == 0) config.rank = static_cast<int>(adapter.pairs.front().rank);
    // An adapter of alpha 0 has a scale of 1 whatever its rank.
    if (options.alpha == 0 && adapter.alpha > 0) config.alpha = adapter.alpha;
  }
  CHOIR_ASSIGN_OR_RETURN(const auto ranks, PatternOf("--rank-pattern", options.rank_pattern));
  CHOIR_ASSIGN_OR_RETURN(const auto alphas, PatternOf("--alpha-pattern", options.alpha_pattern));
  if (!options.init.empty() && !(ranks.empty() && alphas.empty())) {
    return UsageError("--rank-pattern and --alpha-pattern do not go with --init",
                      "leave them out: the adapter of --init has its own");
  }
  absl::StatusOr<engine::Adapter> fresh = engine::InitAdapter(
      config, ranks, alphas, model.LoraTargets(), model.spec().architecture, options.seed);
  if (!fresh.ok()) return UsageError(MessageOf(fresh.status()));
  if (options.init.empty()) return fresh;
  CHOIR_RETURN_IF_ERROR(CheckInitMatches(options, adapter, *fresh));
  return adapter;
}

}  // namespace

absl::StatusOr<engine::Adapter> StartAdapter(const TrainOptions& options,
                                             const engine::Model& model) {
  CHOIR_ASSIGN_OR_RETURN(engine::Adapter adapter, AdapterWithoutDropout(options, model));
  if (options.dropout.has_value()) adapter.dropout = static_cast<float>(*options.dropout);
  return adapter;
}

absl::StatusOr<engine::TrainConfig> TrainConfigOf(const TrainOptions& options,
                                                  const engine::Model& model,
                                                  const engine::Adapter& start) {
  engine::TrainConfig config;
  config.steps = options.steps;
  config.epochs = options.epochs;
  config.context_tokens = ContextTokens(options.data, model);
  config.micro_batches = options.batch;
  config.schedule.peak = options.learning_rate;
  config.schedule.warmup_steps = options.warmup;
  CHOIR_ASSIGN_OR_RETURN(config.schedule.decay, engine::ParseDecay(options.schedule));
  config.adamw.weight_decay = options.weight_decay;
  config.max_gradient_norm = options.max_gradient_norm;
  CHOIR_ASSIGN_OR_RETURN(config.factors, engine::ParseTrainedFactors(options.factors));
  config.lora_dropout = static_cast<double>(start.dropout);
  config.dropout_seed = options.seed;
  config.compute = ComputeOf(options.device);
  const absl::Status valid = ValidateTrainConfig(config);
  if (!valid.ok()) return UsageError(MessageOf(valid));
  return config;
}

void AddBudgetOption(CLI::App& app, std::string& budget, const char* group) {
  app.add_option(
         "--budget", budget,
         "Memory that the program may take, as 800MiB or 1.5GiB: it recomputes, and streams "
         "weights from the file, as far as it must (default: the device's)")
      ->type_name("SIZE")
      ->group(group);
}

absl::StatusOr<uint64_t> MemoryFor(const std::string& budget, const engine::DeviceInfo& device) {
  if (budget.empty()) return device.memory_bytes;
  const std::optional<uint64_t> bytes = ParseBytes(budget);
  if (bytes.has_value() && *bytes > 0) return *bytes;
  return UsageError(fmt::format("--budget: '{}' is no size", budget), "write 800MiB or 1.5GiB");
}

}  // namespace choir::cli
