// `choir plan`: what training will cost, before anything starts.

#include <memory>
#include <optional>
#include <string>

#include "base/process_memory.h"
#include "base/status_macros.h"
#include "cli/command.h"
#include "cli/engine_options.h"
#include "cli/engine_session.h"
#include "cli/failure.h"
#include "cli/recompute_option.h"
#include "cli/train_options.h"
#include "cli/train_plan.h"
#include "engine/infer/cached_model.h"
#include "engine/model/model_plan.h"

namespace choir::cli {
namespace {

struct Options {
  TrainOptions train;
  std::string data;
  std::string kv_cache = kDefaultKvCache;
  bool evaluates = false;
};

absl::Status Run(const Options& options, Environment& environment) {
  Output& output = environment.output;
  CHOIR_ASSIGN_OR_RETURN(const auto model, OpenModel(options.train.model));
  CHOIR_ASSIGN_OR_RETURN(const auto backend, OpenBackend(options.train.device));
  CHOIR_ASSIGN_OR_RETURN(const engine::Adapter start, StartAdapter(options.train, *model));
  CHOIR_ASSIGN_OR_RETURN(const engine::TrainConfig config,
                         TrainConfigOf(options.train, *model, start));
  CHOIR_ASSIGN_OR_RETURN(const uint64_t memory_bytes,
                         MemoryFor(options.train.budget, backend->info()));
  CHOIR_ASSIGN_OR_RETURN(
      const engine::TrainingPlan plan,
      engine::PlanTraining(*model, engine::LayoutOf(start), config, *backend,
                           {memory_bytes, &ResidentBytes}, RecomputeOf(options.train.recompute),
                           {.adapter_copies = 1, .evaluates = options.evaluates}));
  CHOIR_ASSIGN_OR_RETURN(const engine::KvCacheType kv_cache,
                         KvCacheOf(options.kv_cache, model->spec()));
  const engine::AdapterLayout layout = engine::LayoutOf(start);
  CHOIR_ASSIGN_OR_RETURN(
      const engine::ModelPlan generation,
      engine::PlanForGeneration(
          *model, &layout,
          engine::PieceTokens(engine::CachedModelOptions{}.prompt_tokens, config.context_tokens),
          config.context_tokens, kv_cache));
  TrainOutlook outlook{.options = options.train,
                       .model = *model,
                       .start = start,
                       .config = config,
                       .device = backend->info(),
                       .plan = plan,
                       .generation = generation,
                       .kv_cache = options.kv_cache,
                       .documents = {},
                       .tokens_per_epoch = {},
                       .micro_batches_per_epoch = {}};
  if (!options.data.empty()) {
    CHOIR_ASSIGN_OR_RETURN(const engine::TrainingData data,
                           LoadData("data", options.data, *model, options.train.data,
                                    DataUse::kTraining, options.train.seed, output));
    outlook.documents = data.documents;
    outlook.tokens_per_epoch = data.packer.TokensPerEpoch();
    outlook.micro_batches_per_epoch = data.packer.MicroBatchesInEpoch();
  }
  output.Line(DescribeOutlook(outlook));
  output.Json(OutlookToJson(outlook));
  return WithHint(engine::CheckFits(plan, backend->info(), memory_bytes),
                  "lower --ctx, train fewer --modules, or use --recompute full");
}

Action Declare(CLI::App& app) {
  auto options = std::make_shared<Options>();
  AddTrainOptions(app, options->train);
  app.add_flag("--evaluates", options->evaluates,
               "Also count the memory of measuring held-out data (--eval-data of `choir train`)");
  app.add_option("--data", options->data, "Also count the steps that this data takes")
      ->type_name("PATH");
  AddKvCacheOption(app, options->kv_cache);
  app.footer(
      "Takes the options of `choir train`, trains nothing, and writes nothing. Fails if the run\n"
      "does not fit the device.\n\n"
      "Examples:\n"
      "  choir plan --model base.gguf\n"
      "  choir plan --model base.gguf --budget 1.5GiB\n"
      "  choir plan --model base.gguf --rank 16 --modules attn --ctx 1024 --data notes.jsonl\n");
  return [options](Environment& environment) { return Run(*options, environment); };
}

}  // namespace

const Command kPlanCommand = {"plan", "Show what training will cost: memory, steps, upload",
                              &Declare};

}  // namespace choir::cli
