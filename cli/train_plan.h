#ifndef CHOIR_CLI_TRAIN_PLAN_H_
#define CHOIR_CLI_TRAIN_PLAN_H_

#include <cstdint>
#include <optional>
#include <string>

#include "cli/train_options.h"
#include "engine/backend/backend.h"
#include "engine/lora/adapter.h"
#include "engine/model/model.h"
#include "engine/train/train_config.h"
#include "engine/train/training_plan.h"
#include "nlohmann/json.hpp"

namespace choir::cli {

// All that a person wants to know before training starts.
struct TrainOutlook {
  const TrainOptions& options;
  const engine::Model& model;
  const engine::Adapter& start;
  const engine::TrainConfig& config;
  const engine::DeviceInfo& device;
  const engine::TrainingPlan& plan;
  // What generating will take afterwards, and with which cache; not shown by `choir train`.
  std::optional<engine::ModelPlan> generation;
  std::string kv_cache;
  // Of the data, where there is some.
  std::optional<uint64_t> documents;
  std::optional<uint64_t> tokens_per_epoch;
  std::optional<uint64_t> micro_batches_per_epoch;
};

// A few aligned lines, without the last line end.
std::string DescribeOutlook(const TrainOutlook& outlook);
nlohmann::json OutlookToJson(const TrainOutlook& outlook);

}  // namespace choir::cli

#endif  // CHOIR_CLI_TRAIN_PLAN_H_
