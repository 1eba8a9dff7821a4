#include "engine/train/training_plan.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "engine/model/train_graph.h"
#include "engine/train/compute_choice.h"

namespace choir::engine {
namespace {

// The rest is for the system and the program's neighbours.
constexpr uint64_t kComfortPercent = 80;

// What the program grows by beside all that is planned: oneDNN's compiled products, graphs, the
// heap's share: an estimate, which `choir bench train` sets beside the real peak. Not on a GPU,
// whose memory is not the program's.
constexpr uint64_t kGrowthBytes = uint64_t{12} << 20;

absl::StatusOr<ModelPlan> MemoryWith(const Model& model, const AdapterLayout& adapter,
                                     const TrainConfig& config, Backend& backend,
                                     uint64_t program_bytes, bool checkpoint) {
  CHOIR_ASSIGN_OR_RETURN(
      ModelPlan plan,
      PlanForTraining(model, adapter,
                      TrainGraphOptions{.tokens = config.context_tokens,
                                        .factors = config.factors,
                                        .checkpoint = checkpoint,
                                        .dropout = config.lora_dropout},
                      &backend,
                      CompileOptions{.compute = ChooseCompute(config.compute, model.spec())}));
  if (backend.info().backend != "cpu") return plan;
  plan.workspace_bytes += program_bytes + kGrowthBytes;
  // The trainer keeps the adapter as it was beside the one that it trains.
  plan.adapter_bytes += static_cast<uint64_t>(adapter.num_elements) * sizeof(float);
  return plan;
}

// Lowers the weights of the plan to what the rest leaves them.
void Stream(const Model& model, uint64_t memory_bytes, TrainingPlan& plan) {
  const uint64_t rest = plan.memory.total_bytes() - plan.memory.weight_bytes;
  const uint64_t left = memory_bytes - std::min(memory_bytes, rest);
  plan.resident_weight_bytes = std::max(left, LeastResidentBytes(model));
  plan.memory.weight_bytes = std::min(plan.memory.weight_bytes, plan.resident_weight_bytes);
}

}  // namespace

absl::StatusOr<TrainingPlan> PlanTraining(const Model& model, const AdapterLayout& adapter,
                                          const TrainConfig& config, Backend& backend,
                                          const MemoryLimits& limits, Recompute recompute) {
  TrainingPlan plan;
  plan.checkpoint_blocks = recompute == Recompute::kOn;
  CHOIR_ASSIGN_OR_RETURN(plan.memory, MemoryWith(model, adapter, config, backend,
                                                 limits.program_bytes, plan.checkpoint_blocks));
  const uint64_t comfortable = limits.memory_bytes / 100 * kComfortPercent;
  if (recompute == Recompute::kAuto && plan.memory.total_bytes() > comfortable) {
    plan.checkpoint_blocks = true;
    CHOIR_ASSIGN_OR_RETURN(plan.memory,
                           MemoryWith(model, adapter, config, backend, limits.program_bytes, true));
  }
  if (plan.memory.total_bytes() > limits.memory_bytes && backend.info().backend == "cpu") {
    Stream(model, limits.memory_bytes, plan);
  }
  for (const FlatRange& range : adapter.Trained(config.factors)) {
    plan.trained_values += static_cast<uint64_t>(range.count);
  }
  plan.adapter_file_bytes = static_cast<uint64_t>(adapter.num_elements) * sizeof(float);
  return plan;
}

absl::Status CheckFits(const TrainingPlan& plan, const DeviceInfo& device, uint64_t memory_bytes) {
  if (plan.memory.total_bytes() <= memory_bytes) return absl::OkStatus();
  constexpr double kMib = 1024.0 * 1024.0;
  return absl::ResourceExhaustedError(
      fmt::format("training needs {:.0f} MiB, {} has {:.0f} MiB for it",
                  static_cast<double>(plan.memory.total_bytes()) / kMib, device.name,
                  static_cast<double>(memory_bytes) / kMib));
}

}  // namespace choir::engine
