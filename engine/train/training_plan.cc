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

// What the program grows by beside all that is planned: pages of code that only a run reaches,
// stacks, graphs. Largest that was measured (docs/performance.md).
constexpr uint64_t kGrowthBytes = uint64_t{4} << 20;

// What PlanTraining works with.
struct Planner {
  const Model& model;
  const AdapterLayout& adapter;
  const TrainConfig& config;
  Backend& backend;
  const MemoryLimits& limits;

  [[nodiscard]] bool on_cpu() const { return backend.info().backend == "cpu"; }
  // Is the device's memory the program's own?
  [[nodiscard]] bool shares_memory() const { return on_cpu() || backend.info().is_software; }
  [[nodiscard]] uint64_t AdapterBytes() const {
    return static_cast<uint64_t>(adapter.num_elements) * sizeof(float);
  }
  [[nodiscard]] int64_t num_blocks() const {
    return static_cast<int64_t>(model.spec().layers.size());
  }
  [[nodiscard]] TrainGraphOptions GraphOptions(int64_t recomputed_blocks) const {
    return {.tokens = config.context_tokens,
            .factors = config.factors,
            .recomputed_blocks = recomputed_blocks,
            .dropout = config.lora_dropout};
  }
  absl::Status Plan(int64_t recomputed_blocks, TrainingPlan& plan) const;
  [[nodiscard]] uint64_t ProgramBytes() const;
  absl::StatusOr<int64_t> FewestBlocks(const TrainingPlan& all, uint64_t memory_bytes) const;
  absl::Status Recompute(uint64_t comfortable, TrainingPlan& plan) const;
  void Stream(TrainingPlan& plan) const;
};

// Sets the memory of `plan`, and which tables stay.
absl::Status Planner::Plan(int64_t recomputed_blocks, TrainingPlan& plan) const {
  plan.recomputed_blocks = recomputed_blocks;
  plan.host_bytes = 0;
  plan.weights.embedding = false;
  plan.weights.output = recomputed_blocks == 0;
  CHOIR_ASSIGN_OR_RETURN(
      plan.memory,
      PlanForTraining(model, adapter, GraphOptions(recomputed_blocks), &backend,
                      CompileOptions{.compute = ChooseCompute(config.compute, model.spec())},
                      plan.weights));
  (shares_memory() ? plan.memory.workspace_bytes : plan.host_bytes) += ProgramBytes();
  return absl::OkStatus();
}

// Without the adapter that training starts from, and without what is on the device already.
uint64_t Planner::ProgramBytes() const {
  if (limits.program_bytes == nullptr) return kGrowthBytes;
  const uint64_t placed = shares_memory() ? backend.memory_use().now_bytes : 0;
  const uint64_t program = limits.program_bytes();
  return kGrowthBytes + program - std::min(program, placed + AdapterBytes());
}

// How many blocks to recompute so that the run fits: `all` is the plan with all of them. Only what
// is kept of activations depends on it, less with each block more.
absl::StatusOr<int64_t> Planner::FewestBlocks(const TrainingPlan& all,
                                              uint64_t memory_bytes) const {
  const uint64_t rest = all.memory.total_bytes() - all.memory.arena_bytes;
  int64_t enough = num_blocks();
  for (int64_t too_few = 0; enough - too_few > 1;) {
    const int64_t blocks = too_few + (enough - too_few) / 2;
    CHOIR_ASSIGN_OR_RETURN(const uint64_t arena_bytes,
                           ArenaBytesForTraining(model, adapter, GraphOptions(blocks)));
    (rest + arena_bytes <= memory_bytes ? enough : too_few) = blocks;
  }
  return enough;
}

absl::Status Planner::Recompute(uint64_t comfortable, TrainingPlan& plan) const {
  CHOIR_RETURN_IF_ERROR(Plan(num_blocks(), plan));
  if (plan.memory.total_bytes() > comfortable) return absl::OkStatus();
  CHOIR_ASSIGN_OR_RETURN(const int64_t blocks, FewestBlocks(plan, comfortable));
  return blocks == num_blocks() ? absl::OkStatus() : Plan(blocks, plan);
}

// Lowers the weights of the blocks to what the rest leaves them.
void Planner::Stream(TrainingPlan& plan) const {
  const uint64_t blocks = std::min(BlockBytes(model), plan.memory.weight_bytes);
  const uint64_t rest = plan.memory.total_bytes() - blocks;
  const uint64_t left = limits.memory_bytes - std::min(limits.memory_bytes, rest);
  plan.weights.block_bytes = std::max(left, LeastBlockBytes(model));
  plan.memory.weight_bytes -= blocks - std::min(blocks, plan.weights.block_bytes);
}

}  // namespace

absl::StatusOr<TrainingPlan> PlanTraining(const Model& model, const AdapterLayout& adapter,
                                          const TrainConfig& config, Backend& backend,
                                          const MemoryLimits& limits, Recompute recompute) {
  const Planner planner{model, adapter, config, backend, limits};
  TrainingPlan plan;
  CHOIR_RETURN_IF_ERROR(planner.Plan(recompute == Recompute::kOn ? planner.num_blocks() : 0, plan));
  const uint64_t comfortable = limits.memory_bytes / 100 * kComfortPercent;
  if (recompute == Recompute::kAuto && plan.memory.total_bytes() > comfortable) {
    CHOIR_RETURN_IF_ERROR(planner.Recompute(comfortable, plan));
  }
  if (plan.memory.total_bytes() > limits.memory_bytes && planner.on_cpu()) planner.Stream(plan);
  for (const FlatRange& range : adapter.Trained(config.factors)) {
    plan.trained_values += static_cast<uint64_t>(range.count);
  }
  plan.adapter_file_bytes = planner.AdapterBytes();
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
