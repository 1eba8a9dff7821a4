#include "cli/run_file.h"

#include <toml++/toml.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "engine/lora/lora_config.h"

namespace choir::cli {
namespace {

// One table of the file: reads settings with their limits, then complains of those nobody asked
// for.
class Table {
 public:
  Table(const toml::table& root, std::string_view name, std::string_view source)
      : name_(name), source_(source) {
    const toml::node* node = root.get(name);
    if (node == nullptr) return;
    table_ = node->as_table();
    if (table_ == nullptr) Fail(name, "must be a table");
  }

  void Count(std::string_view key, uint64_t least, uint64_t most, uint64_t& out) {
    const toml::node* node = Find(key);
    if (node == nullptr) return;
    const std::optional<int64_t> value = node->value_exact<int64_t>();
    if (!value.has_value() || *value < static_cast<int64_t>(least) ||
        static_cast<uint64_t>(*value) > most) {
      Fail(key, fmt::format("must be a whole number from {} to {}", least, most));
      return;
    }
    out = static_cast<uint64_t>(*value);
  }
  uint32_t Count32(std::string_view key, uint32_t least, uint32_t most, uint32_t fallback) {
    uint64_t value = fallback;
    Count(key, least, most, value);
    return static_cast<uint32_t>(value);
  }
  float Number(std::string_view key, double least, double most, double fallback) {
    const toml::node* node = Find(key);
    if (node == nullptr) return static_cast<float>(fallback);
    const std::optional<double> value = node->value<double>();
    if (!value.has_value() || !(*value >= least) || !(*value <= most)) {
      Fail(key, fmt::format("must be a number from {} to {}", least, most));
      return static_cast<float>(fallback);
    }
    return static_cast<float>(*value);
  }
  std::string Text(std::string_view key, std::string fallback) {
    const toml::node* node = Find(key);
    if (node == nullptr) return fallback;
    const std::optional<std::string> value = node->value_exact<std::string>();
    if (!value.has_value()) Fail(key, "must be a text");
    return value.value_or(fallback);
  }
  std::string OneOf(std::string_view key, std::initializer_list<std::string_view> words) {
    const std::string value = Text(key, std::string(*words.begin()));
    if (std::find(words.begin(), words.end(), value) == words.end()) {
      Fail(key, fmt::format("must be one of {}", fmt::join(words, ", ")));
    }
    return value;
  }
  bool Flag(std::string_view key, bool fallback) {
    const toml::node* node = Find(key);
    if (node == nullptr) return fallback;
    const std::optional<bool> value = node->value_exact<bool>();
    if (!value.has_value()) Fail(key, "must be true or false");
    return value.value_or(fallback);
  }
  void Fail(std::string_view key, std::string_view wanted) {
    if (status_.ok()) {
      status_ =
          absl::InvalidArgumentError(fmt::format("{}: [{}] {} {}", source_, name_, key, wanted));
    }
  }
  absl::Status Finish() {
    if (table_ != nullptr) {
      for (const auto& [key, value] : *table_) {
        if (!known_.contains(std::string(key.str()))) Fail(key.str(), "is no setting that exists");
      }
    }
    return status_;
  }

 private:
  const toml::node* Find(std::string_view key) {
    known_.insert(std::string(key));
    return table_ == nullptr ? nullptr : table_->get(key);
  }

  std::string_view name_;
  std::string_view source_;
  const toml::table* table_ = nullptr;
  std::set<std::string> known_;
  absl::Status status_;
};

std::string FromFolderOf(const std::string& file, const std::string& path) {
  if (path.empty()) return path;
  return (std::filesystem::path(file).parent_path() / path).lexically_normal().string();
}

absl::Status ReadRun(const toml::table& root, const std::string& path, RunFile& out) {
  Table table(root, "run", path);
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

absl::Status ReadLora(const toml::table& root, const std::string& path, v1::LoraSpec& lora) {
  Table table(root, "lora", path);
  lora.set_rank(table.Count32("rank", 1, engine::kMaxLoraRank, 8));
  lora.set_alpha(table.Number("alpha", 1e-6, 1e6, 16));
  lora.set_rslora(table.Flag("rslora", false));
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

absl::Status ReadTraining(const toml::table& root, const std::string& path,
                          v1::TrainingSpec& training) {
  Table table(root, "training", path);
  training.set_local_steps(table.Count32("steps", 0, 1u << 20, 0));
  training.set_local_epochs(table.Count32("epochs", 0, 1u << 20, 0));
  if (training.local_steps() == 0 && training.local_epochs() == 0) training.set_local_epochs(1);
  training.set_learning_rate(table.Number("learning_rate", 1e-9, 10, 1e-3));
  training.set_weight_decay(table.Number("weight_decay", 0, 1, 0));
  training.set_context_tokens(table.Count32("context", 8, 1u << 17, 256));
  training.set_batch(table.Count32("batch", 1, 1u << 16, 1));
  training.set_max_gradient_norm(table.Number("max_gradient_norm", 0, 1e9, 0));
  training.set_packing(table.OneOf("packing", {"packed", "windows"}));
  training.set_train_on(table.OneOf("train_on", {"all", "completion"}));
  training.set_compute(table.OneOf("compute", {"auto", "f32", "bf16"}));
  uint64_t seed = 1;
  table.Count("seed", 0, uint64_t{1} << 62, seed);
  training.set_seed(seed);
  return table.Finish();
}

absl::Status ReadAggregation(const toml::table& root, const std::string& path,
                             v1::AggregationSpec& aggregation) {
  Table table(root, "aggregation", path);
  aggregation.set_strategy(table.Text("strategy", "fedavg"));
  aggregation.set_server_learning_rate(table.Number("server_learning_rate", 1e-6, 1e3, 1));
  aggregation.set_min_cohort(table.Count32("min_cohort", 3, 1000, 8));
  aggregation.set_target_cohort(
      table.Count32("target_cohort", 3, 1000, std::max(aggregation.min_cohort(), 32u)));
  aggregation.set_max_cohort(table.Count32("max_cohort", 3, 1000, aggregation.target_cohort()));
  if (aggregation.target_cohort() < aggregation.min_cohort() ||
      aggregation.max_cohort() < aggregation.target_cohort()) {
    table.Fail("target_cohort", "must lie between min_cohort and max_cohort");
  }
  aggregation.set_ring_bits(table.Count32("ring_bits", 16, 32, 32));
  if (aggregation.ring_bits() % 8 != 0) table.Fail("ring_bits", "must be 16, 24 or 32");
  aggregation.set_clip_norm(table.Number("clip_norm", 1e-6, 1e9, 100));
  aggregation.set_codec_range(table.Number("codec_range", 1e-9, 1e9, 1));
  aggregation.set_max_examples_weight(table.Number("max_examples_weight", 1, 1e9, 1000));
  aggregation.set_equal_weights(table.Flag("equal_weights", false));
  return table.Finish();
}

absl::Status ReadPacing(const toml::table& root, const std::string& path, v1::PacingSpec& pacing) {
  Table table(root, "pacing", path);
  pacing.set_select_wait_s(table.Count32("select_wait_s", 1, 7 * 86400, 600));
  pacing.set_training_wait_s(table.Count32("training_wait_s", 1, 7 * 86400, 600));
  pacing.set_cohort_wait_s(table.Count32("cohort_wait_s", 1, 86400, 300));
  pacing.set_stage_wait_s(table.Count32("stage_wait_s", 1, 86400, 120));
  pacing.set_over_selection(table.Number("over_selection", 0, 4, 0.3));
  return table.Finish();
}

absl::StatusOr<toml::table> ParseToml(std::string_view text, const std::string& path) {
  try {
    return toml::parse(text);
  } catch (const toml::parse_error& error) {
    return absl::InvalidArgumentError(fmt::format("{}:{}: {}", path, error.source().begin.line,
                                                  std::string(error.description())));
  }
}

}  // namespace

absl::StatusOr<RunFile> ParseRunFile(std::string_view text, const std::string& path) {
  CHOIR_ASSIGN_OR_RETURN(const toml::table root, ParseToml(text, path));
  constexpr std::string_view kTables[] = {"run", "lora", "training", "aggregation", "pacing"};
  for (const auto& [key, value] : root) {
    if (std::find(std::begin(kTables), std::end(kTables), key.str()) == std::end(kTables)) {
      return absl::InvalidArgumentError(
          fmt::format("{}: [{}] is no table that exists: there are {}", path,
                      std::string(key.str()), fmt::join(kTables, ", ")));
    }
  }
  RunFile file;
  CHOIR_RETURN_IF_ERROR(ReadRun(root, path, file));
  CHOIR_RETURN_IF_ERROR(ReadLora(root, path, *file.config.mutable_lora()));
  CHOIR_RETURN_IF_ERROR(ReadTraining(root, path, *file.config.mutable_training()));
  CHOIR_RETURN_IF_ERROR(ReadAggregation(root, path, *file.config.mutable_aggregation()));
  CHOIR_RETURN_IF_ERROR(ReadPacing(root, path, *file.config.mutable_pacing()));
  return file;
}

}  // namespace choir::cli
