#include "engine/train/training_plan.h"

#include <fmt/format.h>

#include "base/status_macros.h"
#include "engine/model/train_graph.h"

namespace choir::engine {
namespace {

// The rest is for kernels' workspaces, the program itself and its neighbours.
constexpr uint64_t kComfortPercent = 80;

absl::StatusOr<ModelPlan> MemoryWith(const Model& model, const AdapterLayout& adapter,
                                     const TrainConfig& config, bool checkpoint) {
  return PlanForTraining(model, adapter,
                         TrainGraphOptions{.tokens = config.context_tokens,
                                           .factors = config.factors,
                                           .checkpoint = checkpoint,
                                           .dropout = config.lora_dropout});
}

bool IsTight(const ModelPlan& plan, const DeviceInfo& device) {
  return plan.total_bytes() > device.memory_bytes / 100 * kComfortPercent;
}

}  // namespace

absl::StatusOr<TrainingPlan> PlanTraining(const Model& model, const AdapterLayout& adapter,
                                          const TrainConfig& config, const DeviceInfo& device,
                                          Recompute recompute) {
  TrainingPlan plan;
  plan.checkpoint_blocks = recompute == Recompute::kOn;
  CHOIR_ASSIGN_OR_RETURN(plan.memory, MemoryWith(model, adapter, config, plan.checkpoint_blocks));
  if (recompute == Recompute::kAuto && IsTight(plan.memory, device)) {
    plan.checkpoint_blocks = true;
    CHOIR_ASSIGN_OR_RETURN(plan.memory, MemoryWith(model, adapter, config, true));
  }
  for (const FlatRange& range : adapter.Trained(config.factors)) {
    plan.trained_values += static_cast<uint64_t>(range.count);
  }
  plan.adapter_file_bytes = static_cast<uint64_t>(adapter.num_elements) * sizeof(float);
  return plan;
}

absl::Status CheckFits(const TrainingPlan& plan, const DeviceInfo& device) {
  if (plan.memory.total_bytes() <= device.memory_bytes) return absl::OkStatus();
  constexpr double kMib = 1024.0 * 1024.0;
  return absl::ResourceExhaustedError(
      fmt::format("training needs {:.0f} MiB, {} has {:.0f} MiB for it",
                  static_cast<double>(plan.memory.total_bytes()) / kMib, device.name,
                  static_cast<double>(device.memory_bytes) / kMib));
}

}  // namespace choir::engine
