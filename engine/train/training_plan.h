#ifndef CHOIR_ENGINE_TRAIN_TRAINING_PLAN_H_
#define CHOIR_ENGINE_TRAIN_TRAINING_PLAN_H_

// What a training run will cost, before anything is allocated.

#include <cstdint>

#include "absl/status/statusor.h"

#include "engine/backend/backend.h"
#include "engine/model/adapter_layout.h"
#include "engine/model/model.h"
#include "engine/model/model_plan.h"
#include "engine/train/train_config.h"

namespace choir::engine {

enum class Recompute : uint8_t {
  kAuto,  // where the device would otherwise be short of memory
  kOn,
  kOff,
};

struct TrainingPlan {
  ModelPlan memory;
  bool checkpoint_blocks = false;
  uint64_t trained_values = 0;      // elements of the trained factors: what a federation sends
  uint64_t adapter_file_bytes = 0;  // about: f32 values, without the header
};

// The memory of a run with these settings, and whether to recompute. `device.memory_bytes` is what
// the process may hope to use; kAuto recomputes if the run would take more than 80 % of it.
absl::StatusOr<TrainingPlan> PlanTraining(const Model& model, const AdapterLayout& adapter,
                                          const TrainConfig& config, const DeviceInfo& device,
                                          Recompute recompute);

// RESOURCE_EXHAUSTED, with both figures, if the plan does not fit the device.
absl::Status CheckFits(const TrainingPlan& plan, const DeviceInfo& device);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_TRAIN_TRAINING_PLAN_H_
