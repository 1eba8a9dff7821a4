#include "bench/train_measure.h"

#include <utility>

#include "base/process_memory.h"
#include "base/status_macros.h"

namespace choir::bench {
namespace {

double ShareOfEpoch(const engine::Packer& packer, int64_t context_tokens) {
  return static_cast<double>(packer.TokensPerEpoch()) /
         static_cast<double>(packer.MicroBatchesInEpoch() * static_cast<uint64_t>(context_tokens));
}

}  // namespace

TrainRun::TrainRun(const TrainSetup& setup, double epoch_share,
                   std::unique_ptr<engine::Trainer> trainer)
    : clock_(setup.clock),
      config_(setup.config),
      epoch_share_(epoch_share),
      trainer_(std::move(trainer)),
      profiler_(trainer_->micro_step_graph()) {}

absl::StatusOr<std::unique_ptr<TrainRun>> TrainRun::Create(TrainSetup setup,
                                                           engine::TrainingData data) {
  engine::TrainConfig config = setup.config;
  ++config.steps;
  const double epoch_share = ShareOfEpoch(data.packer, config.context_tokens);
  const engine::Trainer::Parts parts{.model = setup.model,
                                     .base_model = {},
                                     .backend = setup.backend,
                                     .weights = setup.weights,
                                     .start = setup.start};
  CHOIR_ASSIGN_OR_RETURN(std::unique_ptr<engine::Trainer> trainer,
                         engine::Trainer::Create(parts, config, std::move(data)));
  setup.start = {};
  // The constructor is private; std::make_unique cannot reach it.
  std::unique_ptr<TrainRun> run(new TrainRun(setup, epoch_share, std::move(trainer)));
  CHOIR_RETURN_IF_ERROR(run->TimeStep().status());
  run->first_loss_ = run->last_.loss;
  return run;
}

// Stops the trainer after one step; it goes on from there with the next.
absl::StatusOr<double> TrainRun::TimeStep() {
  absl::Time begin = absl::InfinitePast();
  bool done = false;
  double seconds = 0;
  engine::TrainHooks hooks;
  hooks.should_stop = [&] {
    if (begin == absl::InfinitePast()) begin = clock_.Now();
    return done;
  };
  hooks.on_step = [&](const engine::StepReport& report) {
    seconds = absl::ToDoubleSeconds(clock_.Now() - begin);
    last_ = report;
    done = true;
  };
  const absl::Status status = trainer_->Run(hooks, {}, clock_);
  if (!status.ok() && !(done && absl::IsCancelled(status))) return status;
  if (!done) return absl::FailedPreconditionError("all steps of the run are done");
  return seconds;
}

absl::Status TrainRun::Step() {
  CHOIR_ASSIGN_OR_RETURN(const double seconds, TimeStep());
  times_.Add(seconds);
  tokens_ += last_.tokens;
  profiler_.Add(trainer_->micro_step());
  return absl::OkStatus();
}

TrainMeasurement TrainRun::Result() const {
  const auto micro_batches = static_cast<double>(config_.micro_batches);
  TrainMeasurement result;
  result.peak_resident_bytes = PeakResidentBytes();
  result.steps = times_;
  result.tokens_per_step = static_cast<double>(tokens_) / static_cast<double>(times_.count());
  result.useful_share =
      result.tokens_per_step / (static_cast<double>(config_.context_tokens) * micro_batches);
  result.epoch_share = epoch_share_;
  result.first_loss = first_loss_;
  result.last_loss = last_.loss;
  result.work = WorkOf(trainer_->micro_step_graph());
  result.work.flops *= micro_batches;
  result.work.bytes *= micro_batches;
  result.memory = trainer_->memory_use();
  result.ops = profiler_.ByOp();
  result.chrome_trace = profiler_.ChromeTrace();
  return result;
}

absl::StatusOr<TrainMeasurement> MeasureTraining(TrainSetup setup, engine::TrainingData data) {
  const int64_t steps = setup.config.steps;
  CHOIR_ASSIGN_OR_RETURN(const std::unique_ptr<TrainRun> run,
                         TrainRun::Create(std::move(setup), std::move(data)));
  for (int64_t step = 0; step < steps; ++step) CHOIR_RETURN_IF_ERROR(run->Step());
  return run->Result();
}

absl::StatusOr<engine::TrainingData> MadeUpData(int64_t vocabulary, int64_t context_tokens) {
  constexpr int64_t kDocuments = 8;
  std::vector<engine::Document> documents(kDocuments);
  int64_t seed = 1;
  for (engine::Document& document : documents) {
    for (int64_t t = 0; t <= context_tokens; ++t) {
      seed = (seed * 7919 + 17) % 1000003;
      document.tokens.push_back(static_cast<int32_t>(seed % vocabulary));
      document.in_loss.push_back(1);
    }
  }
  engine::TrainingDataOptions options;
  options.context_tokens = context_tokens;
  return engine::PackDocuments(std::move(documents), options);
}

}  // namespace choir::bench
