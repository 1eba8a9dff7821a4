#ifndef CHOIR_BENCH_TRAIN_MEASURE_H_
#define CHOIR_BENCH_TRAIN_MEASURE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "base/clock.h"
#include "bench/in_turn.h"
#include "bench/op_work.h"
#include "engine/backend/backend.h"
#include "engine/lora/adapter.h"
#include "engine/model/device_model.h"
#include "engine/model/model.h"
#include "engine/train/train_config.h"
#include "engine/train/trainer.h"
#include "engine/train/training_data.h"

namespace choir::bench {

// What is measured. The references outlive the run.
struct TrainSetup {
  const engine::Model& model;
  engine::Backend& backend;
  const engine::DeviceModel& weights;
  engine::Adapter start;       // let go once training has its own
  engine::TrainConfig config;  // `steps` that count; one more comes before them
  const Clock& clock;
};

struct TrainMeasurement {
  Times steps;
  double tokens_per_step = 0;  // real ones: padding does not count
  double useful_share = 0;     // real tokens of all places
  double epoch_share = 0;      // the same over a whole epoch of the data
  double first_loss = 0;
  double last_loss = 0;
  Work work;  // of a step
  engine::MemoryUse memory;
  uint64_t peak_resident_bytes = 0;
  std::vector<OpProfile> ops;  // of a micro-batch; empty where the backend does not measure
  std::string chrome_trace;

  [[nodiscard]] double TokensPerSecond() const { return tokens_per_step / steps.Fastest(); }
  [[nodiscard]] double MeanTokensPerSecond() const { return tokens_per_step / steps.Mean(); }
  [[nodiscard]] double Gflops() const { return work.flops / steps.Fastest() * 1e-9; }
};

// Training, timed step by step: from the first micro-batch to the end of the update.
class TrainRun : public MeasuredRun {
 public:
  // With the step that does not count: it warms caches and touches memory.
  static absl::StatusOr<std::unique_ptr<TrainRun>> Create(TrainSetup setup,
                                                          engine::TrainingData data);

  // FAILED_PRECONDITION after `steps` of the setup.
  absl::Status Step() override;
  [[nodiscard]] const Times& times() const override { return times_; }
  [[nodiscard]] TrainMeasurement Result() const;

 private:
  TrainRun(const TrainSetup& setup, double epoch_share, std::unique_ptr<engine::Trainer> trainer);
  // The next step's time in seconds.
  absl::StatusOr<double> TimeStep();

  const Clock& clock_;
  engine::TrainConfig config_;
  double epoch_share_;
  std::unique_ptr<engine::Trainer> trainer_;
  Profiler profiler_;
  Times times_;
  engine::StepReport last_;
  double first_loss_ = 0;
  uint64_t tokens_ = 0;  // of the steps that count
};

// All steps of one run. The peak of resident memory is that of the whole call.
absl::StatusOr<TrainMeasurement> MeasureTraining(TrainSetup setup, engine::TrainingData data);

// Documents that fill every micro-batch of `context_tokens` with made-up tokens, for timing alone.
absl::StatusOr<engine::TrainingData> MadeUpData(int64_t vocabulary, int64_t context_tokens);

}  // namespace choir::bench

#endif  // CHOIR_BENCH_TRAIN_MEASURE_H_
