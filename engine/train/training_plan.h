#ifndef CHOIR_ENGINE_TRAIN_TRAINING_PLAN_H_
#define CHOIR_ENGINE_TRAIN_TRAINING_PLAN_H_

// What a training run will cost, before anything is allocated.

#include <cstdint>

#include "absl/status/statusor.h"

#include "engine/backend/backend.h"
#include "engine/graph/kept_activations.h"
#include "engine/model/adapter_layout.h"
#include "engine/model/model.h"
#include "engine/model/model_plan.h"
#include "engine/model/weight_residency.h"
#include "engine/train/train_config.h"

namespace choir::engine {

// How much of the forward pass the backward pass computes again, to need less memory.
enum class Recompute : uint8_t {
  kAuto,       // the quickest of these that is comfortable; of kFull as many blocks as it takes
  kOff,        // nothing
  kSelective,  // what is cheap; the rest waits in fewer bits where products round anyway
  kFull,       // every block, from its input: the same bits as kOff
};

struct TrainingPlan {
  // Of the device; where that is this computer's memory, with the program that runs on it.
  ModelPlan memory;
  uint64_t host_bytes = 0;  // of this computer's memory, where the device has its own
  // For TrainConfig.
  int64_t recomputed_blocks = 0;  // from the first
  KeptActivations kept = KeptActivations::kAll;
  // For DeviceModel::Load. A table of embeddings never stays; the output table where blocks are
  // recomputed to save memory; all of the blocks, unless the device is too small.
  WeightResidency weights;
  uint64_t trained_values = 0;      // elements of the trained factors: what a federation sends
  uint64_t adapter_file_bytes = 0;  // about: f32 values, without the header
};

struct MemoryLimits {
  uint64_t memory_bytes = 0;  // what the process may hope to use
  // Says what it has: program, libraries, data, and the adapter that training starts from, which is
  // let go once there is a trainer. Asked after the kernels were prepared on trial, so that the
  // code that they brought with them counts. Null: nothing.
  uint64_t (*program_bytes)() = nullptr;
};

// What a run does beside its steps.
struct BesideSteps {
  // Copies of the adapter that the program holds at most, for a checkpoint or for what it hands
  // over at the end.
  uint64_t adapter_copies = 0;
  // Measures held-out data: with a program of its own, and a copy of the best adapter so far.
  bool evaluates = false;
};

// The memory of a run with these settings on this backend, what to keep and to recompute, and how
// much of the weights to stream. kAuto, if the run would take more than 80 % of the memory,
// computes again what is cheap (and packs the rest, where products round); then whole blocks, no
// more of them than that asks for; where all of them are not enough nothing is packed, and weights
// that are read in place are streamed.
absl::StatusOr<TrainingPlan> PlanTraining(const Model& model, const AdapterLayout& adapter,
                                          const TrainConfig& config, Backend& backend,
                                          const MemoryLimits& limits, Recompute recompute,
                                          const BesideSteps& beside = {});

// RESOURCE_EXHAUSTED, with both figures, if the plan does not fit the memory of the device (its
// name is for the message).
absl::Status CheckFits(const TrainingPlan& plan, const DeviceInfo& device, uint64_t memory_bytes);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_TRAIN_TRAINING_PLAN_H_
