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

struct Level {
  KeptActivations kept = KeptActivations::kAll;
  int64_t recomputed_blocks = 0;
};

// What PlanTraining works with.
struct Planner {
  const Model& model;
  const AdapterLayout& adapter;
  const TrainConfig& config;
  Backend& backend;
  const MemoryLimits& limits;
  uint64_t copies_bytes;     // of the adapter, on the host
  uint64_t measuring_bytes;  // of the program that measures held-out data

  [[nodiscard]] bool on_cpu() const { return backend.info().backend == "cpu"; }
  // Is the device's memory the program's own?
  [[nodiscard]] bool shares_memory() const { return on_cpu() || backend.info().is_software; }
  [[nodiscard]] uint64_t AdapterBytes() const {
    return static_cast<uint64_t>(adapter.num_elements) * sizeof(float);
  }
  [[nodiscard]] int64_t num_blocks() const {
    return static_cast<int64_t>(model.spec().layers.size());
  }
  [[nodiscard]] Compute compute() const { return ChooseCompute(config.compute, model.spec()); }
  // The level between all and nothing.
  [[nodiscard]] KeptActivations Selected() const {
    return RoundsProducts(compute(), backend.info()) ? KeptActivations::kPackedProducts
                                                     : KeptActivations::kProducts;
  }
  [[nodiscard]] TrainGraphOptions GraphOptions(const Level& level) const {
    return {.tokens = config.context_tokens,
            .factors = config.factors,
            .recomputed_blocks = level.recomputed_blocks,
            .kept = level.kept,
            .dropout = config.lora_dropout};
  }
  absl::Status CountBeside(const BesideSteps& beside);
  absl::Status Plan(const Level& level, TrainingPlan& plan) const;
  [[nodiscard]] uint64_t ProgramBytes() const;
  absl::StatusOr<int64_t> FewestBlocks(const TrainingPlan& all, uint64_t memory_bytes) const;
  absl::Status Choose(uint64_t comfortable, TrainingPlan& plan) const;
  void Stream(TrainingPlan& plan) const;
};

// All of it comes on top of what the steps hold, which they keep until the end.
absl::Status Planner::CountBeside(const BesideSteps& beside) {
  copies_bytes = (beside.adapter_copies + (beside.evaluates ? 1 : 0)) * AdapterBytes();
  if (!beside.evaluates) return absl::OkStatus();
  CHOIR_ASSIGN_OR_RETURN(const ModelPlan eval,
                         PlanForEvaluation(model, &adapter, config.context_tokens, &backend,
                                           CompileOptions{.compute = compute()}));
  measuring_bytes = eval.arena_bytes + eval.workspace_bytes;
  return absl::OkStatus();
}

// Sets the memory of `plan`, and which tables stay.
absl::Status Planner::Plan(const Level& level, TrainingPlan& plan) const {
  plan.recomputed_blocks = level.recomputed_blocks;
  plan.kept = level.kept;
  plan.weights.embedding = false;
  plan.weights.output = level.recomputed_blocks == 0;
  CHOIR_ASSIGN_OR_RETURN(plan.memory,
                         PlanForTraining(model, adapter, GraphOptions(level), &backend,
                                         CompileOptions{.compute = compute()}, plan.weights));
  plan.memory.beside_bytes = measuring_bytes;
  plan.host_bytes = 0;
  (shares_memory() ? plan.memory.workspace_bytes : plan.host_bytes) += ProgramBytes();
  (shares_memory() ? plan.memory.beside_bytes : plan.host_bytes) += copies_bytes;
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
                           ArenaBytesForTraining(model, adapter, GraphOptions({all.kept, blocks})));
    (rest + arena_bytes <= memory_bytes ? enough : too_few) = blocks;
  }
  return enough;
}

// The quickest level whose memory is comfortable, else the one that needs least.
absl::Status Planner::Choose(uint64_t comfortable, TrainingPlan& plan) const {
  const KeptActivations selected = Selected();
  CHOIR_RETURN_IF_ERROR(Plan({KeptActivations::kAll, 0}, plan));
  if (plan.memory.total_bytes() <= comfortable) return absl::OkStatus();
  CHOIR_RETURN_IF_ERROR(Plan({selected, 0}, plan));
  if (plan.memory.total_bytes() <= comfortable) return absl::OkStatus();
  CHOIR_RETURN_IF_ERROR(Plan({selected, num_blocks()}, plan));
  if (plan.memory.total_bytes() > comfortable) {
    // Packing saves little where every block is recomputed: rather exact, if that fits as well or
    // weights are streamed anyway.
    TrainingPlan exact = plan;
    CHOIR_RETURN_IF_ERROR(Plan({KeptActivations::kAll, num_blocks()}, exact));
    if (on_cpu() || exact.memory.total_bytes() <= limits.memory_bytes) plan = exact;
    return absl::OkStatus();
  }
  CHOIR_ASSIGN_OR_RETURN(const int64_t blocks, FewestBlocks(plan, comfortable));
  return blocks == num_blocks() ? absl::OkStatus() : Plan({selected, blocks}, plan);
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
                                          const MemoryLimits& limits, Recompute recompute,
                                          const BesideSteps& beside) {
  Planner planner{model, adapter, config, backend, limits, 0, 0};
  CHOIR_RETURN_IF_ERROR(planner.CountBeside(beside));
  TrainingPlan plan;
  switch (recompute) {
    case Recompute::kAuto:
      CHOIR_RETURN_IF_ERROR(planner.Choose(limits.memory_bytes / 100 * kComfortPercent, plan));
      break;
    case Recompute::kOff:
      CHOIR_RETURN_IF_ERROR(planner.Plan({KeptActivations::kAll, 0}, plan));
      break;
    case Recompute::kSelective:
      CHOIR_RETURN_IF_ERROR(planner.Plan({planner.Selected(), 0}, plan));
      break;
    case Recompute::kFull:
      CHOIR_RETURN_IF_ERROR(planner.Plan({KeptActivations::kAll, planner.num_blocks()}, plan));
      break;
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
