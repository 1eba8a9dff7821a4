#ifndef CHOIR_CLI_TRAIN_OPTIONS_H_
#define CHOIR_CLI_TRAIN_OPTIONS_H_

// The options that describe a training run, for `choir train` and `choir plan`.

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"

#include "CLI/CLI.hpp"
#include "cli/data_options.h"
#include "cli/engine_options.h"
#include "engine/lora/adapter.h"
#include "engine/model/model.h"
#include "engine/train/train_config.h"
#include "engine/train/training_plan.h"

namespace choir::cli {

struct TrainOptions {
  std::string model;
  // The adapter. Rank, alpha and modules are 0 or empty where the user did not say.
  int rank = 0;
  float alpha = 0;
  std::string modules;
  std::string rank_pattern;
  std::string alpha_pattern;
  bool rslora = false;
  std::optional<double> dropout;
  std::string init;
  uint64_t seed = 0;
  // The run.
  int64_t steps = 0;
  double epochs = 1;
  int64_t batch = 1;
  double learning_rate = 2e-4;
  double weight_decay = 0;
  double max_gradient_norm = 0;
  int64_t warmup = 0;
  std::string schedule = "constant";
  std::string factors = "both";
  std::string recompute = "auto";
  std::string budget;  // empty: the device's memory
  DataOptions data;
  DeviceOptions device;
};

void AddTrainOptions(CLI::App& app, TrainOptions& options);

// The adapter to start from: --init, checked against the other options, or a fresh one.
absl::StatusOr<engine::Adapter> StartAdapter(const TrainOptions& options,
                                             const engine::Model& model);

// A usage error where the numbers make no sense. What is kept and recomputed is left
// to PlanTraining.
// `start` from StartAdapter.
absl::StatusOr<engine::TrainConfig> TrainConfigOf(const TrainOptions& options,
                                                  const engine::Model& model,
                                                  const engine::Adapter& start);

// --budget, for a command's own group of options.
void AddBudgetOption(CLI::App& app, std::string& budget, const char* group);
// What a run may take of a device's memory. A usage error for a budget that is no size.
absl::StatusOr<uint64_t> MemoryFor(const std::string& budget, const engine::DeviceInfo& device);

}  // namespace choir::cli

#endif  // CHOIR_CLI_TRAIN_OPTIONS_H_
