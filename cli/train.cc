// `choir train`: fine-tunes a LoRA adapter on this machine.

#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "base/process_memory.h"
#include "base/status_macros.h"
#include "cli/command.h"
#include "cli/engine_session.h"
#include "cli/failure.h"
#include "cli/held_out.h"
#include "cli/interrupt.h"
#include "cli/recompute_option.h"
#include "cli/train_options.h"
#include "cli/train_plan.h"
#include "cli/train_report.h"
#include "cli/train_watch.h"
#include "engine/lora/gguf_adapter.h"
#include "engine/train/train_state.h"
#include "engine/train/trainer.h"

namespace choir::cli {
namespace {

struct Options {
  TrainOptions train;
  std::string data;
  std::string output;
  HeldOutOptions held_out;
  TrainRecords records;
  std::string checkpoint;
  int64_t checkpoint_every = 50;
  bool resume = false;
  bool dry_run = false;
};

// One run of the command.
class TrainCommand {
 public:
  TrainCommand(const Options& options, Environment& environment)
      : options_(options), output_(environment.output), clock_(environment.clock) {}

  absl::Status Run();

 private:
  absl::Status CheckOptions() const;
  absl::StatusOr<engine::TrainingPlan> ShowPlan(const engine::TrainingData& data,
                                                bool evaluates) const;
  absl::Status PlaceWeights(const engine::TrainingPlan& plan);
  absl::Status OpenTrainer(engine::TrainingData data);
  absl::Status ResumeFromCheckpoint();
  absl::Status Train();
  absl::Status Finish(absl::Duration took);

  const Options& options_;
  Output& output_;
  const Clock& clock_;
  EngineSession session_;
  engine::TrainConfig config_;
  engine::Adapter start_;
  std::unique_ptr<engine::Trainer> trainer_;
  std::optional<HeldOut> held_out_;
  uint64_t memory_bytes_ = 0;   // that the run may take
  uint64_t tokens_before_ = 0;  // of an earlier run that this one resumes
};

// A file there can be written; fine if there is no path.
absl::Status CheckFolderOf(std::string_view option, const std::string& path) {
  if (path.empty()) return absl::OkStatus();
  std::filesystem::path folder = std::filesystem::path(path).parent_path();
  if (folder.empty()) folder = ".";
  if (::access(folder.c_str(), W_OK) == 0) return absl::OkStatus();
  return UsageError(fmt::format("{}: cannot write into the folder {}", option, folder.string()),
                    "make the folder, or choose another one");
}

absl::Status TrainCommand::Run() {
  CHOIR_RETURN_IF_ERROR(CheckOptions());
  CHOIR_ASSIGN_OR_RETURN(session_, OpenSession(options_.train.device, options_.train.model, ""));
  CHOIR_ASSIGN_OR_RETURN(start_, StartAdapter(options_.train, *session_.model));
  CHOIR_ASSIGN_OR_RETURN(config_, TrainConfigOf(options_.train, *session_.model, start_));
  CHOIR_ASSIGN_OR_RETURN(memory_bytes_, MemoryFor(options_.train.budget, session_.backend->info()));
  CHOIR_ASSIGN_OR_RETURN(SplitData data,
                         LoadSplitData(options_.data, options_.held_out, *session_.model,
                                       options_.train.data, options_.train.seed, output_));
  CHOIR_ASSIGN_OR_RETURN(const engine::TrainingPlan plan,
                         ShowPlan(data.training, data.held_out.has_value()));
  CHOIR_RETURN_IF_ERROR(WithHint(engine::CheckFits(plan, session_.backend->info(), memory_bytes_),
                                 "lower --ctx, train fewer --modules, or use --recompute full"));
  if (options_.dry_run) return absl::OkStatus();
  config_.recomputed_blocks = plan.recomputed_blocks;
  config_.kept = plan.kept;
  config_.evaluation = EvaluationPlanOf(options_.held_out, data.held_out);
  CHOIR_RETURN_IF_ERROR(PlaceWeights(plan));
  CHOIR_RETURN_IF_ERROR(OpenTrainer(std::move(data.training)));
  if (data.held_out.has_value()) {
    CHOIR_ASSIGN_OR_RETURN(
        held_out_, HeldOut::Create(session_, trainer_->device_adapter(), *data.held_out,
                                   config_.context_tokens, config_.compute, output_, clock_));
  }
  tokens_before_ = trainer_->metrics().tokens;
  const absl::Time begin = clock_.Now();
  CHOIR_RETURN_IF_ERROR(Train());
  return Finish(clock_.Now() - begin);
}

absl::Status TrainCommand::CheckOptions() const {
  CHOIR_RETURN_IF_ERROR(CheckHeldOutOptions(options_.held_out));
  if (options_.dry_run) return absl::OkStatus();
  if (options_.output.empty()) {
    return UsageError("--output is required", "--dry-run shows the plan without training");
  }
  if (options_.resume && options_.checkpoint.empty()) {
    return UsageError("--resume needs --checkpoint FILE");
  }
  // Found out now, not after hours.
  CHOIR_RETURN_IF_ERROR(CheckFolderOf("--output", options_.output));
  return CheckFolderOf("--plot", options_.records.plot);
}

absl::StatusOr<engine::TrainingPlan> TrainCommand::ShowPlan(const engine::TrainingData& data,
                                                            bool evaluates) const {
  const engine::DeviceInfo& device = session_.backend->info();
  CHOIR_ASSIGN_OR_RETURN(
      const engine::TrainingPlan plan,
      engine::PlanTraining(*session_.model, engine::LayoutOf(start_), config_, *session_.backend,
                           {memory_bytes_, &ResidentBytes}, RecomputeOf(options_.train.recompute),
                           {.adapter_copies = 1, .evaluates = evaluates}));
  const TrainOutlook outlook{.options = options_.train,
                             .model = *session_.model,
                             .start = start_,
                             .config = config_,
                             .device = device,
                             .plan = plan,
                             .generation = {},
                             .kv_cache = {},
                             .documents = data.documents,
                             .tokens_per_epoch = data.packer.TokensPerEpoch(),
                             .micro_batches_per_epoch = data.packer.MicroBatchesInEpoch()};
  if (options_.dry_run) {
    output_.Line(DescribeOutlook(outlook));
    output_.Json(OutlookToJson(outlook));
  } else {
    output_.Note(DescribeOutlook(outlook));
  }
  return plan;
}

// The session's weights are all resident: they are bound again, as the plan has it. Where the
// device has its own copies, these are left alone.
absl::Status TrainCommand::PlaceWeights(const engine::TrainingPlan& plan) {
  if (session_.backend->info().backend != "cpu") return absl::OkStatus();
  CHOIR_ASSIGN_OR_RETURN(*session_.weights, engine::DeviceModel::Load(
                                                *session_.backend, *session_.model, plan.weights));
  return absl::OkStatus();
}

absl::Status TrainCommand::OpenTrainer(engine::TrainingData data) {
  const Digest base_model = session_.model->Sha256();
  const std::string base_model_hex = DigestToHex(base_model);
  if (!start_.base_model_sha256.empty() && start_.base_model_sha256 != base_model_hex) {
    output_.Warning(fmt::format("{} was made for another base model file", options_.train.init));
  }
  start_.base_model_sha256 = base_model_hex;
  const engine::Trainer::Parts parts{.model = *session_.model,
                                     .base_model = base_model,
                                     .backend = *session_.backend,
                                     .weights = *session_.weights,
                                     .start = start_};
  CHOIR_ASSIGN_OR_RETURN(trainer_, engine::Trainer::Create(parts, config_, std::move(data)));
  start_ = {};  // the trainer has it
  return ResumeFromCheckpoint();
}

absl::Status TrainCommand::ResumeFromCheckpoint() {
  if (options_.checkpoint.empty()) return absl::OkStatus();
  const auto state = engine::ReadTrainState(options_.checkpoint);
  if (absl::IsNotFound(state.status())) {
    if (options_.resume) output_.Note("no checkpoint yet: training starts from the beginning");
    return absl::OkStatus();
  }
  if (!state.ok()) {
    return BadInput("checkpoint", options_.checkpoint, state.status(),
                    "delete the file to start from the beginning");
  }
  if (!options_.resume) {
    return UsageError(
        fmt::format("{} holds a run that got to step {}", options_.checkpoint, state->step),
        "--resume goes on with it; delete the file to start from the beginning");
  }
  if (const absl::Status status = trainer_->Restore(*state); !status.ok()) {
    return BadInput("checkpoint", options_.checkpoint, status,
                    "give the options of that run again, or another --checkpoint");
  }
  output_.Note(
      fmt::format("resumed after step {} of {}", trainer_->step(), trainer_->total_steps()));
  return absl::OkStatus();
}

absl::Status TrainCommand::Train() {
  const StepLog::Kept kept{.steps = trainer_->step(),
                           .evaluations = trainer_->evaluations().evaluations};
  CHOIR_ASSIGN_OR_RETURN(
      TrainWatch watch,
      TrainWatch::Open(options_.records, kept, trainer_->total_steps(),
                       std::filesystem::path(options_.train.model).filename().string(), output_,
                       clock_));
  engine::TrainHooks hooks = watch.Hooks();
  if (held_out_.has_value()) hooks.evaluate = [this] { return held_out_->Measure(); };
  absl::Status status = trainer_->Run(
      hooks, {.path = options_.checkpoint, .every_steps = options_.checkpoint_every}, clock_);
  // Also of a run that was stopped or failed: that is when one wants to see it.
  CHOIR_RETURN_IF_ERROR(watch.Finish());
  if (!absl::IsCancelled(status)) return status;
  return WithHint(status, options_.checkpoint.empty()
                              ? "with --checkpoint FILE a stopped run can go on later"
                              : "the same command with --resume goes on from there");
}

absl::Status TrainCommand::Finish(absl::Duration took) {
  CHOIR_ASSIGN_OR_RETURN(const engine::Adapter adapter, options_.held_out.keep_best()
                                                            ? trainer_->BestAdapter()
                                                            : trainer_->CurrentAdapter());
  CHOIR_RETURN_IF_ERROR(engine::WriteGgufAdapter(adapter, options_.output));
  // The run is complete: its checkpoint would only stand in the way of the next one.
  if (!options_.checkpoint.empty()) std::remove(options_.checkpoint.c_str());
  TrainReport report{.output = options_.output,
                     .metrics = trainer_->metrics(),
                     .new_tokens = trainer_->metrics().tokens - tokens_before_,
                     .took = took,
                     .device = session_.backend->info()};
  if (held_out_.has_value()) {
    report.held_out = HeldOutReport{.record = trainer_->evaluations(),
                                    .tokens = held_out_->tokens(),
                                    .kept_best = options_.held_out.keep_best(),
                                    .stopped_early = trainer_->stopped_early(),
                                    .patience = options_.held_out.patience};
  }
  output_.Line(DescribeReport(report));
  output_.Json(ReportToJson(report));
  if (report.held_out.has_value() && report.held_out->kept_best &&
      report.held_out->record.best_step == 0) {
    output_.Warning(
        "no step made the held-out loss better: the result is the adapter that training "
        "began with");
  }
  return absl::OkStatus();
}

void AddFileOptions(CLI::App& app, Options& options) {
  app.add_option("--data", options.data, "JSONL, text or Markdown; a file or a folder")
      ->required()
      ->type_name("PATH");
  app.add_option("-o,--output", options.output, "Where the adapter goes (GGUF)")->type_name("FILE");
  app.add_option("--log-jsonl", options.records.log_jsonl,
                 "A JSON line for each step and each measurement")
      ->type_name("FILE");
  app.add_option("--plot", options.records.plot,
                 "A picture of the losses and the learning rate (SVG)")
      ->type_name("FILE");
  app.add_option("--checkpoint", options.checkpoint, "Save the run here, to go on after a stop")
      ->type_name("FILE");
  app.add_option("--checkpoint-every", options.checkpoint_every, "Steps between saves")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40).description(""))
      ->type_name("N")
      ->capture_default_str();
  app.add_flag("--resume", options.resume, "Go on from the checkpoint, if there is one");
  app.add_flag("--dry-run", options.dry_run, "Show the plan (memory, steps, upload) and stop");
}

Action Declare(CLI::App& app) {
  auto options = std::make_shared<Options>();
  AddTrainOptions(app, options->train);
  AddFileOptions(app, *options);
  AddHeldOutOptions(app, options->held_out);
  app.footer(
      "A line of data is {\"text\"}, {\"prompt\",\"completion\"} or "
      "{\"messages\":[{\"role\",\"content\"}]}.\n"
      "The loss of a step is the mean over its predicted tokens. Ctrl-C stops after the step;\n"
      "with --checkpoint, --resume goes on and ends with the same adapter, bit for bit on the "
      "CPU.\n"
      "With held-out data (--eval-data or --eval-split) the result is the best adapter that was\n"
      "measured, the one training began with included; --keep last takes the last one.\n\n"
      "Examples:\n"
      "  choir train --model base.gguf --data notes.jsonl --output mine.gguf\n"
      "  choir train --model base.gguf --data notes.jsonl --output mine.gguf --rank 16 \\\n"
      "      --epochs 3 --lr 1e-4 --schedule cosine --warmup 10 --eval-data test.jsonl \\\n"
      "      --checkpoint run.ckpt --log-jsonl steps.jsonl\n"
      "  choir train --model base.gguf --data notes.jsonl --output mine.gguf --epochs 20 \\\n"
      "      --eval-split 0.1 --eval-every 25 --patience 4 --plot loss.svg\n"
      "  choir train --model base.gguf --data notes.jsonl --dry-run\n");
  return [options](Environment& environment) { return TrainCommand(*options, environment).Run(); };
}

}  // namespace

const Command kTrainCommand = {"train", "Fine-tune a LoRA adapter on this machine", &Declare};

}  // namespace choir::cli
