#include "cli/train_plan.h"

#include <filesystem>

#include <fmt/format.h>

#include "cli/humane.h"
#include "cli/recompute_option.h"

namespace choir::cli {
namespace {

// A value in a federation's upload takes 2 to 4 bytes (ring_bits of the run); headers are small.
constexpr uint64_t kLargestValueBytes = 4;

std::string Count(uint64_t count) {
  return HumaneCount(static_cast<int64_t>(count));
}

std::string DescribeRun(const TrainOutlook& outlook) {
  const engine::TrainConfig& config = outlook.config;
  std::string shape = fmt::format("{} x {} tokens a step, lr {} {}", config.micro_batches,
                                  config.context_tokens, config.schedule.peak,
                                  engine::kDecayNames[static_cast<int>(config.schedule.decay)]);
  if (!outlook.micro_batches_per_epoch.has_value() && config.steps == 0) return shape;
  return fmt::format(
      "{} steps, {}",
      HumaneCount(engine::TotalSteps(config, outlook.micro_batches_per_epoch.value_or(1))), shape);
}

std::string DescribeDropout(const engine::TrainConfig& config) {
  if (config.lora_dropout == 0) return "";
  return fmt::format("dropout {:.3g}, ", config.lora_dropout);
}

std::string DescribeMemory(const engine::TrainingPlan& plan, size_t blocks) {
  const bool streams = plan.weights.streams_blocks();
  const std::string kept =
      DescribeKept(plan.kept, plan.recomputed_blocks, static_cast<int64_t>(blocks));
  return fmt::format(
      "{} (weights {}{}, activations {}{}, adapter and optimizer {}, program {}{})",
      HumaneBytes(plan.memory.total_bytes()), HumaneBytes(plan.memory.weight_bytes),
      streams ? " at a time, streamed from the file" : "", HumaneBytes(plan.memory.arena_bytes),
      kept.empty() ? "" : fmt::format(" ({})", kept), HumaneBytes(plan.memory.adapter_bytes),
      HumaneBytes(plan.memory.workspace_bytes),
      plan.memory.beside_bytes == 0
          ? ""
          : fmt::format(", beside the steps {}", HumaneBytes(plan.memory.beside_bytes)));
}

}  // namespace

std::string DescribeOutlook(const TrainOutlook& outlook) {
  const engine::ModelSpec& spec = outlook.model.spec();
  const engine::LoraPair& first = outlook.start.pairs.front();
  std::string text = fmt::format("model    {} ({}, {} layers, {} channels)\n",
                                 std::filesystem::path(outlook.options.model).filename().string(),
                                 spec.architecture, spec.layers.size(), spec.channels);
  text += fmt::format("device   {} ({})\n", outlook.device.name, outlook.device.backend);
  text += fmt::format("adapter  rank {}, alpha {}, {}{} layers adapted, {} trained values\n",
                      first.rank, outlook.start.alpha, DescribeDropout(outlook.config),
                      outlook.start.pairs.size(), Count(outlook.plan.trained_values));
  if (outlook.documents.has_value()) {
    text += fmt::format("data     {} documents, {} tokens, {} micro-batches an epoch\n",
                        Count(*outlook.documents), Count(*outlook.tokens_per_epoch),
                        Count(*outlook.micro_batches_per_epoch));
  }
  text += fmt::format("run      {}\n", DescribeRun(outlook));
  text += fmt::format("memory   {}\n", DescribeMemory(outlook.plan, spec.layers.size()));
  if (outlook.plan.host_bytes > 0) {
    text += fmt::format("         of the device; beside it {} of this computer's\n",
                        HumaneBytes(outlook.plan.host_bytes));
  }
  if (outlook.generation.has_value()) {
    text += fmt::format("chat     {}, {} of it the {} KV cache of {} tokens\n",
                        HumaneBytes(outlook.generation->total_bytes()),
                        HumaneBytes(outlook.generation->cache_bytes), outlook.kv_cache,
                        HumaneCount(outlook.config.context_tokens));
  }
  text += fmt::format("upload   at most {} a round, in a federation",
                      HumaneBytes(outlook.plan.trained_values * kLargestValueBytes));
  return text;
}

nlohmann::json OutlookToJson(const TrainOutlook& outlook) {
  const engine::TrainingPlan& plan = outlook.plan;
  nlohmann::json json = {
      {"memory_bytes", plan.memory.total_bytes()},
      {"weight_bytes", plan.memory.weight_bytes},
      {"activation_bytes", plan.memory.arena_bytes},
      {"adapter_bytes", plan.memory.adapter_bytes},
      {"device_memory_bytes", outlook.device.memory_bytes},
      {"program_bytes", plan.memory.workspace_bytes},
      {"beside_bytes", plan.memory.beside_bytes},
      {"kept_activations", NameOf(plan.kept)},
      {"recomputed_blocks", plan.recomputed_blocks},
      {"stream_weights", plan.weights.streams_blocks()},
      {"trained_values", plan.trained_values},
      {"upload_bytes", plan.trained_values * kLargestValueBytes},
      {"adapter_file_bytes", plan.adapter_file_bytes},
      {"context_tokens", outlook.config.context_tokens},
      {"batch", outlook.config.micro_batches},
      {"backend", outlook.device.backend},
      {"device", outlook.device.name},
  };
  if (plan.host_bytes > 0) json["host_memory_bytes"] = plan.host_bytes;
  if (outlook.generation.has_value()) {
    json["generation"] = {{"memory_bytes", outlook.generation->total_bytes()},
                          {"kv_cache", outlook.kv_cache},
                          {"kv_cache_bytes", outlook.generation->cache_bytes},
                          {"context_tokens", outlook.config.context_tokens}};
  }
  if (outlook.micro_batches_per_epoch.has_value()) {
    json["documents"] = *outlook.documents;
    json["tokens_per_epoch"] = *outlook.tokens_per_epoch;
    json["micro_batches_per_epoch"] = *outlook.micro_batches_per_epoch;
  }
  if (outlook.micro_batches_per_epoch.has_value() || outlook.config.steps > 0) {
    json["steps"] = engine::TotalSteps(outlook.config, outlook.micro_batches_per_epoch.value_or(1));
  }
  return json;
}

}  // namespace choir::cli
