#include "node/worker/worker.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>

#include <fmt/format.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/file.h"
#include "base/process_memory.h"
#include "base/status_macros.h"
#include "engine/backend/registry.h"
#include "engine/chat/chat_template.h"
#include "engine/lora/contribution.h"
#include "engine/lora/gguf_adapter.h"
#include "engine/lora/latent.h"
#include "engine/lora/sketch.h"
#include "engine/model/device_model.h"
#include "engine/model/model.h"
#include "engine/train/compute_choice.h"
#include "engine/train/trainer.h"
#include "engine/train/training_plan.h"
#include "node/worker/job.h"
#include "node/worker/worker_exit_code.h"

namespace choir::node {
namespace {

// Often enough that a killed worker loses little, seldom enough that writing costs nothing.
constexpr int64_t kCheckpointEverySteps = 10;

volatile sig_atomic_t stop_requested = 0;

void OnTerminate(int) {
  stop_requested = 1;
}

// A worker without its daemon has nobody to report to.
void EndWithTheDaemon() {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  struct sigaction action {};
  action.sa_handler = &OnTerminate;
  ::sigaction(SIGTERM, &action, nullptr);
  ::signal(SIGINT, SIG_IGN);  // Ctrl-C at a terminal is for the daemon, which then asks the worker
}

absl::StatusOr<engine::Compute> ParseCompute(const std::string& name) {
  if (name == "auto") return engine::Compute::kAuto;
  if (name == "f32") return engine::Compute::kF32;
  if (name == "bf16") return engine::Compute::kBf16;
  return absl::InvalidArgumentError(fmt::format("compute \"{}\": use auto, f32 or bf16", name));
}

absl::StatusOr<engine::TrainConfig> TrainConfigOf(const Job& job) {
  engine::TrainConfig config;
  config.steps = job.local_steps;
  config.epochs = job.local_epochs;
  config.context_tokens = job.context_tokens;
  config.micro_batches = job.batch;
  config.schedule.peak = job.learning_rate;
  config.adamw.weight_decay = job.weight_decay;
  config.max_gradient_norm = job.max_gradient_norm;
  config.lora_dropout = job.lora_dropout;
  config.dropout_seed = job.dropout_seed;
  config.proximal_mu = job.proximal_mu;
  config.window = {job.window_first, job.window_count, job.window_of};
  CHOIR_ASSIGN_OR_RETURN(const engine::Contribution contribution,
                         engine::ParseContribution(job.contribution));
  config.factors = engine::TrainedBy(contribution);
  CHOIR_ASSIGN_OR_RETURN(config.compute, ParseCompute(job.compute));
  return config;
}

absl::StatusOr<engine::TrainingData> LoadData(const Job& job, const engine::Model& model) {
  engine::DatasetOptions reading;
  reading.skip_bad_lines = true;  // one bad line of the owner's must not keep the device out
  reading.max_bytes = engine::kMaxStreamedBytes;
  engine::TrainingDataOptions options;
  CHOIR_ASSIGN_OR_RETURN(options.packing, engine::ParsePacking(job.packing));
  CHOIR_ASSIGN_OR_RETURN(options.train_on, engine::ParseTrainOn(job.train_on));
  options.context_tokens = job.context_tokens;
  options.shuffle = options.packing == engine::Packing::kPacked;
  options.seed = job.seed;
  options.chat_formatter = engine::MakeChatFormatter(model.file(), model.tokenizer());
  CHOIR_ASSIGN_OR_RETURN(
      engine::TrainingData data,
      engine::ReadTrainingData(job.data_folder, reading, model.tokenizer(), options));
  CHOIR_RETURN_IF_ERROR(engine::SkipMicroBatches(data.packer, job.skip_micro_batches));
  return data;
}

// Finish() holds the start, the result, their difference and what is made of it.
constexpr uint64_t kCopiesAtTheEnd = 4;

// Refuses what does not fit; recomputes activations and streams weights where memory is short.
// Returns which weights stay in memory.
absl::StatusOr<engine::WeightResidency> PlanMemory(const Job& job, const engine::Model& model,
                                                   const engine::Adapter& adapter,
                                                   engine::Backend& backend,
                                                   engine::TrainConfig& config) {
  uint64_t memory_bytes = backend.info().memory_bytes;
  if (job.max_memory_bytes != 0) memory_bytes = std::min(memory_bytes, job.max_memory_bytes);
  CHOIR_ASSIGN_OR_RETURN(
      const engine::TrainingPlan plan,
      engine::PlanTraining(model, engine::LayoutOf(adapter), config, backend,
                           {memory_bytes, &ResidentBytes}, engine::Recompute::kAuto,
                           {.adapter_copies = kCopiesAtTheEnd, .evaluates = false}));
  config.recomputed_blocks = plan.recomputed_blocks;
  config.kept = plan.kept;
  CHOIR_RETURN_IF_ERROR(engine::CheckFits(plan, backend.info(), memory_bytes));
  return plan.weights;
}

absl::Status Resume(engine::Trainer& trainer, const std::string& checkpoint) {
  const absl::StatusOr<engine::TrainState> state = engine::ReadTrainState(checkpoint);
  if (absl::IsNotFound(state.status())) return absl::OkStatus();
  if (!state.ok()) return state.status();
  return trainer.Restore(*state);
}

// The adapter to start from: the version's, with this node's own B where it has one.
absl::StatusOr<engine::Adapter> StartOf(const Job& job) {
  CHOIR_ASSIGN_OR_RETURN(engine::Adapter start, engine::ReadGgufAdapter(job.adapter_path));
  if (job.personal_path.empty()) return start;
  const absl::StatusOr<engine::Adapter> personal = engine::ReadGgufAdapter(job.personal_path);
  if (!personal.ok() || !engine::SameShape(start, *personal)) {
    return absl::DataLossError(
        fmt::format("{} is not this run's personal adapter{}{}; remove it to begin a new one",
                    job.personal_path, personal.ok() ? "" : ": ",
                    personal.ok() ? "" : std::string(personal.status().message())));
  }
  for (size_t i = 0; i < start.pairs.size(); ++i) start.pairs[i].b = personal->pairs[i].b;
  return start;
}

// What this node sends, before it is weighted and masked.
absl::StatusOr<std::vector<float>> DeltaOf(const Job& job, engine::Contribution contribution,
                                           const engine::Trainer& trainer,
                                           const engine::Adapter& start,
                                           const engine::Adapter& trained,
                                           const engine::Adapter* basis) {
  if (contribution == engine::Contribution::kCore) return trainer.CoreDelta();
  if (contribution == engine::Contribution::kSketchLeft) {
    return engine::LeftSketchDelta(trained, start, job.adapter_version);
  }
  if (contribution == engine::Contribution::kSketchRight) {
    return engine::RightSketchDelta(trained, start, *basis);
  }
  CHOIR_ASSIGN_OR_RETURN(const engine::Adapter delta, engine::Subtract(trained, start));
  return engine::ContributionOf(delta, contribution);
}

absl::Status Finish(const std::string& folder, const Job& job, const engine::Trainer& trainer,
                    const engine::Adapter* basis, uint64_t documents) {
  // Again from its file: while it trained, the memory was needed for other things.
  CHOIR_ASSIGN_OR_RETURN(const engine::Adapter start, StartOf(job));
  CHOIR_ASSIGN_OR_RETURN(const engine::Contribution contribution,
                         engine::ParseContribution(job.contribution));
  CHOIR_ASSIGN_OR_RETURN(const engine::Adapter trained, trainer.CurrentAdapter());
  CHOIR_ASSIGN_OR_RETURN(const std::vector<float> delta,
                         DeltaOf(job, contribution, trainer, start, trained, basis));
  const engine::TrainMetrics metrics = trainer.metrics();
  const JobResult result{.examples = documents,
                         .tokens = metrics.tokens,
                         .loss_sum = metrics.mean_loss * static_cast<double>(metrics.tokens),
                         .steps = static_cast<uint64_t>(metrics.steps),
                         .mean_loss = metrics.mean_loss};
  // Some of it stays on this device for later rounds.
  if (contribution == engine::Contribution::kSharedA ||
      contribution == engine::Contribution::kSketchLeft) {
    CHOIR_ASSIGN_OR_RETURN(const std::string bytes, engine::SerializeGgufAdapter(trained));
    CHOIR_RETURN_IF_ERROR(AtomicWriteSecretFile(TrainedAdapterPath(folder), bytes));
  }
  return WriteJobResult(folder, result, delta);
}

// The basis, where this contribution needs one.
absl::StatusOr<std::optional<engine::Adapter>> BasisOf(const Job& job,
                                                       const engine::Adapter& start) {
  CHOIR_ASSIGN_OR_RETURN(const engine::Contribution contribution,
                         engine::ParseContribution(job.contribution));
  if (!engine::NeedsBasis(contribution)) return std::nullopt;
  CHOIR_ASSIGN_OR_RETURN(engine::Adapter basis, engine::ReadGgufAdapter(job.basis_path));
  CHOIR_RETURN_IF_ERROR(contribution == engine::Contribution::kCore
                            ? engine::CheckBasis(basis, start)
                            : engine::CheckSketchBasis(basis, start));
  return basis;
}

void PrintProgress(const engine::StepReport& report) {
  const JobProgress progress{.step = static_cast<uint32_t>(report.step),
                             .total_steps = static_cast<uint32_t>(report.total_steps),
                             .loss = report.loss,
                             .tokens_per_second = report.tokens_per_second};
  fmt::print("{}\n", ProgressLine(progress));
  std::fflush(stdout);
  CHOIR_FAILPOINT("worker-step");
}

absl::Status Train(const std::string& folder) {
  CHOIR_ASSIGN_OR_RETURN(const Job job, ReadJob(folder));
  ::setpriority(PRIO_PROCESS, 0, job.niceness);
  CHOIR_ASSIGN_OR_RETURN(const engine::Model model, engine::Model::Open(job.model_path));
  CHOIR_ASSIGN_OR_RETURN(engine::Adapter start, StartOf(job));
  CHOIR_RETURN_IF_ERROR(engine::CheckAdapterFits(start, model.LoraTargets()));
  CHOIR_ASSIGN_OR_RETURN(engine::TrainConfig config, TrainConfigOf(job));
  config.compute = engine::ChooseCompute(config.compute, model.spec());
  CHOIR_ASSIGN_OR_RETURN(engine::TrainingData data, LoadData(job, model));
  const uint64_t documents = data.documents;

  engine::BackendOptions backend_options;
  backend_options.num_threads = job.threads;
  backend_options.pipeline_cache_dir = job.cache_dir;
  CHOIR_ASSIGN_OR_RETURN(const std::unique_ptr<engine::Backend> backend,
                         engine::CreateBackend(job.backend, backend_options));
  CHOIR_ASSIGN_OR_RETURN(const engine::WeightResidency residency,
                         PlanMemory(job, model, start, *backend, config));
  CHOIR_ASSIGN_OR_RETURN(const engine::DeviceModel weights,
                         engine::DeviceModel::Load(*backend, model, residency));
  CHOIR_ASSIGN_OR_RETURN(const std::optional<engine::Adapter> basis, BasisOf(job, start));
  const engine::Adapter* const its = basis.has_value() ? &*basis : nullptr;
  const bool cores = job.contribution == engine::ContributionName(engine::Contribution::kCore);
  const engine::Trainer::Parts parts{model,   model.Sha256(), *backend,
                                     weights, start,          cores ? its : nullptr};
  CHOIR_ASSIGN_OR_RETURN(const std::unique_ptr<engine::Trainer> trainer,
                         engine::Trainer::Create(parts, config, std::move(data)));
  start = {};  // the trainer has it
  const std::string checkpoint = folder + "/checkpoint";
  CHOIR_RETURN_IF_ERROR(Resume(*trainer, checkpoint));
  const engine::TrainHooks hooks{.on_step = &PrintProgress,
                                 .should_stop = [] { return stop_requested != 0; }};
  CHOIR_RETURN_IF_ERROR(trainer->Run(hooks, {checkpoint, kCheckpointEverySteps}, SystemClock()));
  return Finish(folder, job, *trainer, its, documents);
}

}  // namespace

int RunWorker(const std::string& folder) {
  EndWithTheDaemon();
  ReturnLargeBlocks();
  const absl::Status status = Train(folder);
  if (status.ok()) return kWorkerFinished;
  if (absl::IsCancelled(status)) return kWorkerStopped;
  fmt::print(stderr, "{}\n", std::string(status.message()));
  return kWorkerFailed;
}

}  // namespace choir::node
