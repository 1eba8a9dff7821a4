#ifndef CHOIR_CLI_TRAIN_REPORT_H_
#define CHOIR_CLI_TRAIN_REPORT_H_

// What a finished training run tells the user.

#include <cstdint>
#include <optional>
#include <string>

#include "absl/time/time.h"

#include "engine/backend/backend.h"
#include "engine/train/evaluation_record.h"
#include "engine/train/trainer.h"
#include "nlohmann/json.hpp"

namespace choir::cli {

struct HeldOutReport {
  engine::EvaluationRecord record;
  uint64_t tokens = 0;  // predicted in a measurement
  bool kept_best = true;
  bool stopped_early = false;
  int64_t patience = 0;
};

struct TrainReport {
  std::string output;  // the adapter's file
  engine::TrainMetrics metrics;
  uint64_t new_tokens = 0;  // fed since this process began
  absl::Duration took;
  engine::DeviceInfo device;
  std::optional<HeldOutReport> held_out{};
};

// Lines without the last line end.
std::string DescribeReport(const TrainReport& report);
nlohmann::json ReportToJson(const TrainReport& report);

}  // namespace choir::cli

#endif  // CHOIR_CLI_TRAIN_REPORT_H_
