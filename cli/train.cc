// `choir train`: fine-tunes a LoRA adapter on this machine.

#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "cli/command.h"
#include "cli/engine_session.h"
#include "cli/failure.h"
#include "cli/humane.h"
#include "cli/interrupt.h"
#include "cli/progress.h"
#include "cli/step_log.h"
#include "cli/train_options.h"
#include "cli/train_plan.h"
#include "engine/infer/evaluator.h"
#include "engine/lora/gguf_adapter.h"
#include "engine/train/train_state.h"
#include "engine/train/trainer.h"

namespace choir::cli {
namespace {

struct Options {
  TrainOptions train;
  std::string data;
  std::string output;
  std::string eval_data;
  std::string log_jsonl;
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
  absl::StatusOr<engine::TrainingPlan> ShowPlan(const engine::TrainingData& data) const;
  absl::Status OpenTrainer(engine::TrainingData data);
  absl::Status ResumeFromCheckpoint();
  absl::Status PrepareEvaluation();
  absl::StatusOr<std::optional<engine::Evaluation>> Evaluate();
  absl::Status Train();
  absl::Status Finish(const std::optional<engine::Evaluation>& before, absl::Duration took);

  const Options& options_;
  Output& output_;
  const Clock& clock_;
  EngineSession session_;
  engine::TrainConfig config_;
  engine::Adapter start_;
  std::unique_ptr<engine::Trainer> trainer_;
  std::optional<engine::Evaluator> evaluator_;
  std::optional<engine::Packer> eval_packer_;
  uint64_t tokens_before_ = 0;  // of an earlier run that this one resumes
};

absl::Status TrainCommand::Run() {
  CHOIR_RETURN_IF_ERROR(CheckOptions());
  CHOIR_ASSIGN_OR_RETURN(session_, OpenSession(options_.train.device, options_.train.model, ""));
  CHOIR_ASSIGN_OR_RETURN(start_, StartAdapter(options_.train, *session_.model));
  CHOIR_ASSIGN_OR_RETURN(config_, TrainConfigOf(options_.train, *session_.model, start_));
  CHOIR_ASSIGN_OR_RETURN(engine::TrainingData data,
                         LoadData("data", options_.data, *session_.model, options_.train.data,
                                  DataUse::kTraining, options_.train.seed, output_));
  CHOIR_ASSIGN_OR_RETURN(const engine::TrainingPlan plan, ShowPlan(data));
  CHOIR_RETURN_IF_ERROR(WithHint(engine::CheckFits(plan, session_.backend->info()),
                                 "lower --ctx, train fewer --modules, or use --recompute on"));
  if (options_.dry_run) return absl::OkStatus();
  config_.checkpoint_blocks = plan.checkpoint_blocks;
  CHOIR_RETURN_IF_ERROR(OpenTrainer(std::move(data)));
  CHOIR_RETURN_IF_ERROR(PrepareEvaluation());
  CHOIR_ASSIGN_OR_RETURN(const auto before, Evaluate());
  tokens_before_ = trainer_->metrics().tokens;
  const absl::Time begin = clock_.Now();
  CHOIR_RETURN_IF_ERROR(Train());
  return Finish(before, clock_.Now() - begin);
}

absl::Status TrainCommand::CheckOptions() const {
  if (options_.dry_run) return absl::OkStatus();
  if (options_.output.empty()) {
    return UsageError("--output is required", "--dry-run shows the plan without training");
  }
  if (options_.resume && options_.checkpoint.empty()) {
    return UsageError("--resume needs --checkpoint FILE");
  }
  // Found out now, not after hours.
  std::filesystem::path folder = std::filesystem::path(options_.output).parent_path();
  if (folder.empty()) folder = ".";
  if (::access(folder.c_str(), W_OK) != 0) {
    return UsageError(fmt::format("--output: cannot write into the folder {}", folder.string()),
                      "make the folder, or choose another one");
  }
  return absl::OkStatus();
}

absl::StatusOr<engine::TrainingPlan> TrainCommand::ShowPlan(
    const engine::TrainingData& data) const {
  const engine::DeviceInfo& device = session_.backend->info();
  CHOIR_ASSIGN_OR_RETURN(const engine::TrainingPlan plan,
                         engine::PlanTraining(*session_.model, engine::LayoutOf(start_), config_,
                                              device, RecomputeOf(options_.train)));
  const TrainOutlook outlook{.options = options_.train,
                             .model = *session_.model,
                             .start = start_,
                             .config = config_,
                             .device = device,
                             .plan = plan,
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

absl::Status TrainCommand::PrepareEvaluation() {
  if (options_.eval_data.empty()) return absl::OkStatus();
  CHOIR_ASSIGN_OR_RETURN(engine::TrainingData data,
                         LoadData("evaluation data", options_.eval_data, *session_.model,
                                  options_.train.data, DataUse::kEvaluation, 0, output_));
  eval_packer_ = std::move(data.packer);
  CHOIR_ASSIGN_OR_RETURN(
      evaluator_, engine::Evaluator::Create(*session_.model, *session_.backend, *session_.weights,
                                            &trainer_->device_adapter(), config_.context_tokens,
                                            config_.compute));
  return absl::OkStatus();
}

absl::StatusOr<std::optional<engine::Evaluation>> TrainCommand::Evaluate() {
  if (!evaluator_.has_value()) return std::nullopt;
  ProgressBar bar(output_, clock_, "eval",
                  static_cast<int64_t>(eval_packer_->MicroBatchesInEpoch()));
  return evaluator_->Evaluate(*eval_packer_, [&bar](uint64_t done, uint64_t /*total*/) {
    bar.Update(static_cast<int64_t>(done), "");
    return !InterruptRequested();
  });
}

absl::Status TrainCommand::Train() {
  std::optional<StepLog> log;
  if (!options_.log_jsonl.empty()) {
    CHOIR_ASSIGN_OR_RETURN(log, StepLog::Open(options_.log_jsonl, trainer_->step()));
  }
  absl::Status log_status;
  ProgressBar bar(output_, clock_, "train", trainer_->total_steps());
  engine::TrainHooks hooks;
  hooks.on_step = [&](const engine::StepReport& report) {
    if (log.has_value()) log_status.Update(log->Write(report));
    bar.Update(report.step, fmt::format("loss {:.4f}  {} tokens/s", report.loss,
                                        HumaneRate(report.tokens_per_second)));
  };
  hooks.should_stop = [&log_status] { return InterruptRequested() || !log_status.ok(); };
  const absl::Status status = trainer_->Run(
      hooks, {.path = options_.checkpoint, .every_steps = options_.checkpoint_every}, clock_);
  bar.Finish();
  CHOIR_RETURN_IF_ERROR(log_status);
  if (!absl::IsCancelled(status)) return status;
  return WithHint(status, options_.checkpoint.empty()
                              ? "with --checkpoint FILE a stopped run can go on later"
                              : "the same command with --resume goes on from there");
}

absl::Status TrainCommand::Finish(const std::optional<engine::Evaluation>& before,
                                  absl::Duration took) {
  CHOIR_ASSIGN_OR_RETURN(const engine::Adapter adapter, trainer_->CurrentAdapter());
  CHOIR_RETURN_IF_ERROR(engine::WriteGgufAdapter(adapter, options_.output));
  CHOIR_ASSIGN_OR_RETURN(const auto after, Evaluate());
  // The run is complete: its checkpoint would only stand in the way of the next one.
  if (!options_.checkpoint.empty()) std::remove(options_.checkpoint.c_str());

  const engine::TrainMetrics metrics = trainer_->metrics();
  const double seconds = absl::ToDoubleSeconds(took);
  const double rate =
      seconds > 0 ? static_cast<double>(metrics.tokens - tokens_before_) / seconds : 0.0;
  output_.Line(fmt::format("{}: {} steps, {} tokens, mean loss {:.4f}, {} ({} tokens/s)",
                           options_.output, HumaneCount(metrics.steps),
                           HumaneCount(static_cast<int64_t>(metrics.tokens)), metrics.mean_loss,
                           HumaneDuration(took), HumaneRate(rate)));
  nlohmann::json json = {{"output", options_.output},
                         {"steps", metrics.steps},
                         {"mean_loss", metrics.mean_loss},
                         {"tokens", metrics.tokens},
                         {"examples", metrics.examples},
                         {"seconds", seconds},
                         {"tokens_per_second", rate},
                         {"backend", session_.backend->info().backend},
                         {"device", session_.backend->info().name}};
  if (before.has_value() && after.has_value()) {
    output_.Line(fmt::format("held-out NLL {:.4f} -> {:.4f}  (perplexity {:.2f} -> {:.2f})",
                             before->mean_nll, after->mean_nll, before->perplexity,
                             after->perplexity));
    json["eval_before"] = {{"mean_nll", before->mean_nll}, {"tokens", before->tokens}};
    json["eval_after"] = {{"mean_nll", after->mean_nll}, {"tokens", after->tokens}};
  }
  output_.Json(json);
  return absl::OkStatus();
}

void AddFileOptions(CLI::App& app, Options& options) {
  app.add_option("--data", options.data, "JSONL, text or Markdown; a file or a folder")
      ->required()
      ->type_name("PATH");
  app.add_option("-o,--output", options.output, "Where the adapter goes (GGUF)")->type_name("FILE");
  app.add_option("--eval-data", options.eval_data, "Measure the NLL of this before and after")
      ->type_name("PATH");
  app.add_option("--log-jsonl", options.log_jsonl, "A JSON line for each step")->type_name("FILE");
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
  app.footer(
      "A line of data is {\"text\"}, {\"prompt\",\"completion\"} or "
      "{\"messages\":[{\"role\",\"content\"}]}.\n"
      "The loss of a step is the mean over its predicted tokens. Ctrl-C stops after the step;\n"
      "with --checkpoint, --resume goes on and ends with the same adapter, bit for bit on the "
      "CPU.\n\n"
      "Examples:\n"
      "  choir train --model base.gguf --data notes.jsonl --output mine.gguf\n"
      "  choir train --model base.gguf --data notes.jsonl --output mine.gguf --rank 16 \\\n"
      "      --epochs 3 --lr 1e-4 --schedule cosine --warmup 10 --eval-data test.jsonl \\\n"
      "      --checkpoint run.ckpt --log-jsonl steps.jsonl\n"
      "  choir train --model base.gguf --data notes.jsonl --dry-run\n");
  return [options](Environment& environment) { return TrainCommand(*options, environment).Run(); };
}

}  // namespace

const Command kTrainCommand = {"train", "Fine-tune a LoRA adapter on this machine", &Declare};

}  // namespace choir::cli
