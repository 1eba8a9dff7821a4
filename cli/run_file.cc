#include "cli/run_file.h"

#include <algorithm>
#include <filesystem>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "base/toml_table.h"
#include "engine/lora/lora_config.h"

namespace choir::cli {
namespace {

// What the coordinator takes: a cohort's graph is complete, and a round has so many of them.
constexpr uint32_t kLargestCohort = 1024;
constexpr uint32_t kLargestCompleteCohort = 128;
constexpr uint32_t kMostCohorts = 64;

float Narrow(double value) {
  return static_cast<float>(value);
}

std::string FromFolderOf(const std::string& file, const std::string& path) {
  if (path.empty()) return path;
  return (std::filesystem::path(file).parent_path() / path).lexically_normal().string();
}

absl::Status ReadRun(const TomlFile& root, const std::string& path, RunFile& out) {
  TomlTable table(root, "run");
  out.config.set_run_id(table.Text("name", ""));
  const std::string& id = out.config.run_id();
  const bool well_formed =
      !id.empty() && id.size() <= 48 && std::all_of(id.begin(), id.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
      });
  if (!well_formed) table.Fail("name", "must be 1 to 48 of a-z, 0-9 and '-'");
  out.base_model_path = FromFolderOf(path, table.Text("base_model", ""));
  if (out.base_model_path.empty()) table.Fail("base_model", "must name a GGUF file");
  out.initial_adapter_path = FromFolderOf(path, table.Text("initial_adapter", ""));
  out.config.mutable_pacing()->set_rounds(table.Count32("rounds", 1, 100000, 10));
  out.valid_days = table.Count32("valid_days", 1, 3650, 30);
  return table.Finish();
}

absl::Status ReadLora(const TomlFile& root, RunFile& out) {
  TomlTable table(root, "lora");
  v1::LoraSpec& lora = *out.config.mutable_lora();
  for (const std::string_view key : {"rank", "alpha", "rslora", "modules"}) {
    out.lora_shape_given = out.lora_shape_given || table.Has(key);
  }
  out.lora_dropout_given = table.Has("dropout");
  lora.set_rank(table.Count32("rank", 1, engine::kMaxLoraRank, 8));
  lora.set_alpha(Narrow(table.Number("alpha", 1e-6, 1e6, 16)));
  lora.set_rslora(table.Flag("rslora", false));
  lora.set_dropout(Narrow(table.Number("dropout", 0, double{engine::kMaxLoraDropout}, 0)));
  const std::string modules = table.Text("modules", "all");
  const absl::StatusOr<engine::LoraModuleSet> set = engine::LoraModuleSet::Parse(modules);
  if (!set.ok()) {
    table.Fail("modules", std::string(set.status().message()));
  } else {
    for (size_t i = 0; i < engine::kLoraModuleNames.size(); ++i) {
      if (set->Contains(static_cast<engine::LoraModule>(i))) {
        lora.add_modules(std::string(engine::kLoraModuleNames[i]));
      }
    }
  }
  return table.Finish();
}

absl::Status ReadTraining(const TomlFile& root, v1::TrainingSpec& training) {
  TomlTable table(root, "training");
  training.set_local_steps(table.Count32("steps", 0, 1u << 20, 0));
  training.set_local_epochs(table.Count32("epochs", 0, 1u << 20, 0));
  if (training.local_steps() == 0 && training.local_epochs() == 0) training.set_local_epochs(1);
  training.set_learning_rate(Narrow(table.Number("learning_rate", 1e-9, 10, 1e-3)));
  training.set_weight_decay(Narrow(table.Number("weight_decay", 0, 1, 0)));
  training.set_context_tokens(table.Count32("context", 8, 1u << 17, 256));
  training.set_batch(table.Count32("batch", 1, 1u << 16, 1));
  training.set_max_gradient_norm(Narrow(table.Number("max_gradient_norm", 0, 1e9, 0)));
  training.set_proximal_mu(Narrow(table.Number("proximal_mu", 0, 1e6, 0)));
  training.set_packing(table.OneOf("packing", {"packed", "windows"}));
  training.set_train_on(table.OneOf("train_on", {"all", "completion"}));
  training.set_compute(table.OneOf("compute", {"auto", "f32", "bf16"}));
  training.set_seed(table.Count("seed", 0, uint64_t{1} << 62, 1));
  return table.Finish();
}

// How sums become the next adapter.
void ReadMerging(TomlTable& table, v1::AggregationSpec& aggregation) {
  aggregation.set_strategy(table.Text("strategy", "fedavg"));
  aggregation.set_server_optimizer(
      table.OneOf("server_optimizer", {"plain", "momentum", "fedadagrad", "fedyogi", "fedadam"}));
  const bool adaptive = aggregation.server_optimizer().starts_with("fed");
  // An adaptive step has the size of the rate, whatever that of the update.
  aggregation.set_server_learning_rate(
      Narrow(table.Number("server_learning_rate", 1e-6, 1e3, adaptive ? 0.01 : 1)));
  aggregation.set_server_beta1(Narrow(table.Number("server_beta1", 0, 0.9999, 0.9)));
  aggregation.set_server_beta2(Narrow(table.Number("server_beta2", 0, 0.999999, 0.99)));
  aggregation.set_server_tau(Narrow(table.Number("server_tau", 1e-12, 1e6, 1e-3)));
  aggregation.set_combine(table.OneOf("combine", {"mean", "median", "trimmed-mean"}));
  aggregation.set_slices(table.Flag("slices", false));
  aggregation.set_trim(Narrow(table.Number("trim", 0, 0.49, 0.2)));
}

// A number of [privacy] that has no default of its own: 0 leaves it to the coordinator.
absl::Status ReadPrivacy(const TomlFile& root, v1::PrivacySpec& privacy) {
  TomlTable table(root, "privacy");
  privacy.set_mechanism(
      table.OneOf("mechanism", {"none", "discrete-gaussian", "skellam", "central-gaussian"}));
  privacy.set_noise_multiplier(table.Number("noise_multiplier", 0, 1e4, 0));
  privacy.set_target_epsilon(table.Number("target_epsilon", 0, 1e6, 0));
  privacy.set_delta(table.Number("delta", 0, 0.1, 0));
  privacy.set_budget_epsilon(table.Number("budget_epsilon", 0, 1e6, 0));
  privacy.set_adaptive_clip(table.Flag("adaptive_clip", false));
  privacy.set_target_unclipped(table.Number("target_unclipped", 0, 1, 0));
  privacy.set_clip_learning_rate(table.Number("clip_learning_rate", 0, 10, 0));
  privacy.set_clip_bit_noise(table.Number("clip_bit_noise", 0, 1e4, 0));
  if (privacy.mechanism() != "none" &&
      (privacy.noise_multiplier() > 0) == (privacy.target_epsilon() > 0)) {
    table.Fail("noise_multiplier", "give this or target_epsilon, and not both");
  }
  return table.Finish();
}

absl::Status ReadAggregation(const TomlFile& root, bool is_private,
                             v1::AggregationSpec& aggregation) {
  TomlTable table(root, "aggregation");
  ReadMerging(table, aggregation);
  aggregation.set_min_cohort(table.Count32("min_cohort", 3, kLargestCohort, 8));
  aggregation.set_target_cohort(
      table.Count32("target_cohort", 3, kLargestCohort, std::max(aggregation.min_cohort(), 32u)));
  aggregation.set_max_cohort(
      table.Count32("max_cohort", 3, kLargestCohort, aggregation.target_cohort()));
  if (aggregation.target_cohort() < aggregation.min_cohort() ||
      aggregation.max_cohort() < aggregation.target_cohort()) {
    table.Fail("target_cohort", "must lie between min_cohort and max_cohort");
  }
  aggregation.set_graph(table.OneOf("graph", {"auto", "complete", "regular"}));
  if (aggregation.graph() == "complete" && aggregation.max_cohort() > kLargestCompleteCohort) {
    table.Fail("graph",
               fmt::format("\"complete\" is for cohorts of at most {} nodes; leave it out, "
                           "or lower max_cohort",
                           kLargestCompleteCohort));
  }
  aggregation.set_corrupt_percent(table.Count32("corrupt_percent", 1, 90, 5));
  aggregation.set_dropout_percent(table.Count32("dropout_percent", 1, 44, 20));
  if (aggregation.corrupt_percent() + 2 * aggregation.dropout_percent() > 90) {
    table.Fail("corrupt_percent", "and twice dropout_percent must not exceed 90 together");
  }
  aggregation.set_ring_bits(table.Count32("ring_bits", 16, 32, 32));
  if (aggregation.ring_bits() % 8 != 0) table.Fail("ring_bits", "must be 16, 24 or 32");
  aggregation.set_clip_norm(Narrow(table.Number("clip_norm", 1e-6, 1e9, 100)));
  aggregation.set_codec_range(Narrow(table.Number("codec_range", 1e-9, 1e9, 1)));
  aggregation.set_max_examples_weight(Narrow(table.Number("max_examples_weight", 1, 1e9, 1000)));
  // Under differential privacy weights would be summed without noise.
  aggregation.set_equal_weights(table.Flag("equal_weights", is_private));
  return table.Finish();
}

absl::Status ReadGate(const TomlFile& root, const std::string& path, RunFile& out) {
  TomlTable table(root, "gate");
  out.gate_data_path = FromFolderOf(path, table.Text("data", ""));
  const double margin = table.Number("margin", 0, 1e3, 0.05);
  if (!out.gate_data_path.empty()) out.config.mutable_gate()->set_margin(Narrow(margin));
  return table.Finish();
}

absl::Status ReadPacing(const TomlFile& root, v1::PacingSpec& pacing) {
  TomlTable table(root, "pacing");
  pacing.set_select_wait_s(table.Count32("select_wait_s", 1, 7 * 86400, 600));
  pacing.set_training_wait_s(table.Count32("training_wait_s", 1, 7 * 86400, 600));
  pacing.set_cohort_wait_s(table.Count32("cohort_wait_s", 1, 86400, 300));
  pacing.set_stage_wait_s(table.Count32("stage_wait_s", 1, 86400, 120));
  pacing.set_cohorts(table.Count32("cohorts", 1, kMostCohorts, 1));
  pacing.set_over_selection(Narrow(table.Number("over_selection", 0, 4, 0.3)));
  return table.Finish();
}

}  // namespace

absl::StatusOr<RunFile> ParseRunFile(std::string_view text, const std::string& path) {
  CHOIR_ASSIGN_OR_RETURN(
      const TomlFile root,
      TomlFile::Parse(text, path,
                      {"run", "lora", "training", "aggregation", "privacy", "gate", "pacing"}));
  RunFile file;
  CHOIR_RETURN_IF_ERROR(ReadRun(root, path, file));
  CHOIR_RETURN_IF_ERROR(ReadLora(root, file));
  CHOIR_RETURN_IF_ERROR(ReadTraining(root, *file.config.mutable_training()));
  CHOIR_RETURN_IF_ERROR(ReadPrivacy(root, *file.config.mutable_privacy()));
  const bool is_private = file.config.privacy().mechanism() != "none";
  CHOIR_RETURN_IF_ERROR(ReadAggregation(root, is_private, *file.config.mutable_aggregation()));
  CHOIR_RETURN_IF_ERROR(ReadGate(root, path, file));
  CHOIR_RETURN_IF_ERROR(ReadPacing(root, *file.config.mutable_pacing()));
  return file;
}

}  // namespace choir::cli
