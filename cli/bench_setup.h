#ifndef CHOIR_CLI_BENCH_SETUP_H_
#define CHOIR_CLI_BENCH_SETUP_H_

// What `choir bench` measures with, whether one format or several in turn: the model, the training,
// and what the machine can do at best.

#include <memory>
#include <string>

#include "absl/status/statusor.h"

#include "bench/infer_measure.h"
#include "bench/train_measure.h"
#include "cli/bench_options.h"
#include "cli/bench_report.h"
#include "cli/command.h"
#include "engine/backend/backend.h"
#include "engine/lora/adapter.h"
#include "engine/model/model.h"
#include "engine/train/train_config.h"

namespace choir::cli {

// --quick: everything small.
void MakeQuick(BenchOptions& options);

// The model of --model, or one of the shape with random weights in this format.
absl::StatusOr<std::unique_ptr<engine::Model>> BenchModel(const BenchOptions& options,
                                                          const std::string& format);
// The name of the format of a model's matrices; empty where it has no such matrix.
absl::StatusOr<std::string> FormatNameOf(const engine::Model& model);
// What is known before anything is measured.
BenchHead BenchHeadOf(const BenchOptions& options, const engine::Backend& backend);

// --modules in full; empty if it makes no sense, which BenchAdapter says.
std::string ModulesOf(const BenchOptions& options);
// A fresh adapter of --rank on --modules.
absl::StatusOr<engine::Adapter> BenchAdapter(const BenchOptions& options,
                                             const engine::Model& model);
engine::TrainConfig BenchTrainConfig(const BenchOptions& options);
absl::StatusOr<engine::TrainingData> BenchData(const BenchOptions& options,
                                               const engine::Model& model,
                                               Environment& environment);
// `adapter` may be null.
bench::InferSetup BenchInferSetup(const BenchOptions& options, const engine::Model& model,
                                  engine::Backend& backend, const engine::DeviceModel& weights,
                                  const engine::DeviceAdapter* adapter, const Clock& clock);

// Of the CPU backend.
int BenchThreads(const BenchOptions& options);

// Of the CPU only (no interface asks a GPU for its best): raise the head's figures to what they
// find. Measured before and after what is compared with them: a shared machine changes within
// seconds.
absl::Status MeasureLimits(const BenchOptions& options, const engine::ModelSpec& spec,
                           BenchHead& head);
absl::Status MeasureBandwidth(const BenchOptions& options, BenchHead& head);

}  // namespace choir::cli

#endif  // CHOIR_CLI_BENCH_SETUP_H_
