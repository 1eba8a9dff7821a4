#include "bench/train_measure.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "base/process_memory.h"
#include "base/status_macros.h"
#include "engine/train/trainer.h"

namespace choir::bench {
namespace {

// The times of steps as they end.
class StepTimes {
 public:
  explicit StepTimes(const Clock& clock) : clock_(clock) {}

  void Begin() { last_ = clock_.Now(); }
  void Add(const engine::StepReport& report) {
    const absl::Time now = clock_.Now();
    const double seconds = absl::ToDoubleSeconds(now - last_);
    last_ = now;
    last_loss_ = report.loss;
    if (report.step == 1) {  // warms caches and touches memory
      first_loss_ = report.loss;
      return;
    }
    ++steps_;
    tokens_ += report.tokens;
    total_ += seconds;
    fastest_ = fastest_ == 0 ? seconds : std::min(fastest_, seconds);
  }
  void Store(double places_per_step, TrainMeasurement& result) const {
    result.steps = steps_;
    result.fastest_step_s = fastest_;
    result.mean_step_s = total_ / static_cast<double>(steps_);
    result.tokens_per_step = static_cast<double>(tokens_) / static_cast<double>(steps_);
    result.useful_share = result.tokens_per_step / places_per_step;
    result.first_loss = first_loss_;
    result.last_loss = last_loss_;
  }

 private:
  const Clock& clock_;
  absl::Time last_;
  int64_t steps_ = 0;
  uint64_t tokens_ = 0;
  double total_ = 0;
  double fastest_ = 0;
  double first_loss_ = 0;
  double last_loss_ = 0;
};

}  // namespace

absl::StatusOr<TrainMeasurement> MeasureTraining(TrainSetup setup, engine::TrainingData data) {
  TrainMeasurement result;
  engine::TrainConfig config = setup.config;
  ++config.steps;
  result.epoch_share = static_cast<double>(data.packer.TokensPerEpoch()) /
                       static_cast<double>(data.packer.MicroBatchesInEpoch() *
                                           static_cast<uint64_t>(config.context_tokens));
  const engine::Trainer::Parts parts{.model = setup.model,
                                     .base_model = {},
                                     .backend = setup.backend,
                                     .weights = setup.weights,
                                     .start = setup.start};
  CHOIR_ASSIGN_OR_RETURN(const std::unique_ptr<engine::Trainer> trainer,
                         engine::Trainer::Create(parts, config, std::move(data)));
  setup.start = {};
  Profiler profiler(trainer->micro_step_graph());
  StepTimes times(setup.clock);
  engine::TrainHooks hooks;
  hooks.on_step = [&](const engine::StepReport& report) {
    times.Add(report);
    if (report.step > 1) profiler.Add(trainer->micro_step());
  };
  times.Begin();
  CHOIR_RETURN_IF_ERROR(trainer->Run(hooks, {}, setup.clock));
  result.peak_resident_bytes = PeakResidentBytes();
  times.Store(static_cast<double>(config.context_tokens * config.micro_batches), result);
  result.work = WorkOf(trainer->micro_step_graph());
  result.work.flops *= static_cast<double>(config.micro_batches);
  result.work.bytes *= static_cast<double>(config.micro_batches);
  result.memory = trainer->memory_use();
  result.ops = profiler.ByOp();
  result.chrome_trace = profiler.ChromeTrace();
  return result;
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
