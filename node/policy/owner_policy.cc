#include "node/policy/owner_policy.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/file.h"
#include "base/hex.h"
#include "base/status_macros.h"
#include "base/toml_table.h"

namespace choir::node {
namespace {

constexpr uint32_t kCohortFloor = 3;  // below it a node's update is no secret
constexpr uint32_t kLargestCompleteCohort = 128;
constexpr uint64_t kMebibyte = uint64_t{1} << 20;
constexpr uint64_t kMaxMebibytes = uint64_t{1} << 30;

absl::Status ReadPolicy(const TomlFile& file, OwnerPolicy& policy) {
  TomlTable table(file, "policy");
  const std::string consent = table.OneOf("consent", {"ask", "allow-listed", "auto"});
  policy.consent = consent == "auto"           ? Consent::kAuto
                   : consent == "allow-listed" ? Consent::kAllowListed
                                               : Consent::kAsk;
  policy.allowed_runs = table.List("allowed_runs");
  policy.allowed_models = table.List("allowed_models");
  policy.min_cohort = table.Count32("min_cohort", 0, 1000, policy.min_cohort);
  if (policy.min_cohort < kCohortFloor) {
    table.Fail("min_cohort",
               fmt::format("must be at least {}: in a smaller group, others could work out what "
                           "this device sent",
                           kCohortFloor));
  }
  policy.min_corrupt_percent =
      table.Count32("min_corrupt_percent", 0, 100, policy.min_corrupt_percent);
  policy.only_on_power = table.Flag("only_on_power", policy.only_on_power);
  policy.min_battery_percent =
      table.Number("min_battery_percent", 0, 100, policy.min_battery_percent);
  policy.max_temperature_c = table.Number("max_temperature_c", 0, 150, policy.max_temperature_c);
  policy.max_load_per_core = table.Number("max_load_per_core", 0, 1000, policy.max_load_per_core);
  policy.network_interfaces = table.List("network_interfaces");
  policy.max_memory_bytes = table.Count("max_memory_mib", 0, kMaxMebibytes, 0) * kMebibyte;
  policy.max_rank = table.Count32("max_rank", 0, 1u << 16, policy.max_rank);
  policy.max_upload_bytes = table.Count("max_upload_mib", 0, kMaxMebibytes, 0) * kMebibyte;
  return table.Finish();
}

absl::Status ReadPrivacy(const TomlFile& file, OwnerPolicy& policy) {
  TomlTable table(file, "privacy");
  policy.noise = table.OneOf("noise", {"any", "some", "distributed"});
  policy.min_noise_multiplier = table.Number("min_noise_multiplier", 0, 1e4, 0);
  policy.max_epsilon = table.Number("max_epsilon", 0, 1e6, 0);
  policy.delta = table.Number("delta", 1e-12, 0.1, policy.delta);
  return table.Finish();
}

absl::Status ReadEngine(const TomlFile& file, OwnerPolicy& policy) {
  TomlTable table(file, "engine");
  policy.backend = table.OneOf("backend", {"auto", "cpu", "vulkan"});
  policy.threads = static_cast<int>(table.Count32("threads", 0, 1024, 0));
  policy.niceness = static_cast<int>(table.Count32("nice", 0, 19, 10));
  return table.Finish();
}

// "eth*" matches any name that starts with "eth".
bool Matches(std::string_view pattern, std::string_view name) {
  if (pattern.ends_with('*')) return name.starts_with(pattern.substr(0, pattern.size() - 1));
  return pattern == name;
}

bool Contains(const std::vector<std::string>& list, std::string_view value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

absl::Status AllowsRunByConsent(const OwnerPolicy& policy, const std::string& run_id,
                                const std::vector<std::string>& runs_allowed_since) {
  if (policy.consent == Consent::kAuto || Contains(policy.allowed_runs, run_id)) {
    return absl::OkStatus();
  }
  if (policy.consent == Consent::kAsk && Contains(runs_allowed_since, run_id)) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(
      policy.consent == Consent::kAsk
          ? fmt::format("run {} waits for the owner: `choir node allow {}`", run_id, run_id)
          : fmt::format("run {} is not in allowed_runs", run_id));
}

}  // namespace

absl::StatusOr<OwnerPolicy> ParseOwnerPolicy(std::string_view text, std::string_view source) {
  CHOIR_ASSIGN_OR_RETURN(
      const TomlFile file,
      TomlFile::Parse(text, source, {"data", "policy", "privacy", "engine", "models"}));
  OwnerPolicy policy;
  TomlTable data(file, "data");
  policy.data_folder = data.Text("folder", "");
  if (policy.data_folder.empty()) data.Fail("folder", "must name the folder to train on");
  CHOIR_RETURN_IF_ERROR(data.Finish());
  CHOIR_RETURN_IF_ERROR(ReadPolicy(file, policy));
  CHOIR_RETURN_IF_ERROR(ReadPrivacy(file, policy));
  CHOIR_RETURN_IF_ERROR(ReadEngine(file, policy));
  TomlTable models(file, "models");
  policy.model_paths = models.List("paths");
  CHOIR_RETURN_IF_ERROR(models.Finish());
  return policy;
}

absl::Status AllowsRun(const OwnerPolicy& policy, const v1::RunConfig& config,
                       const std::vector<std::string>& runs_allowed_since) {
  CHOIR_RETURN_IF_ERROR(AllowsRunByConsent(policy, config.run_id(), runs_allowed_since));
  const std::string model = HexEncode(AsBytes(config.base_model_digest()));
  if (!policy.allowed_models.empty() && !Contains(policy.allowed_models, model)) {
    return absl::FailedPreconditionError(
        fmt::format("base model {} is not in allowed_models", model));
  }
  if (config.aggregation().min_cohort() < policy.min_cohort) {
    return absl::FailedPreconditionError(
        fmt::format("run {} allows cohorts of {}, this device wants at least {} (min_cohort)",
                    config.run_id(), config.aggregation().min_cohort(), policy.min_cohort));
  }
  const v1::AggregationSpec& spec = config.aggregation();
  const bool regular = spec.graph() == "regular" ||
                       (spec.graph() == "auto" && spec.max_cohort() > kLargestCompleteCohort);
  if (regular && spec.corrupt_percent() < policy.min_corrupt_percent) {
    return absl::FailedPreconditionError(fmt::format(
        "run {} sums on a graph that bears {} % of nodes on the coordinator's side, this "
        "device wants {} % (min_corrupt_percent)",
        config.run_id(), spec.corrupt_percent(), policy.min_corrupt_percent));
  }
  if (policy.max_rank != 0 && config.lora().rank() > policy.max_rank &&
      !config.aggregation().slices()) {
    return absl::FailedPreconditionError(fmt::format(
        "run {} trains all components of rank {}, this device at most {} (max_rank); a run with "
        "slices = true would do",
        config.run_id(), config.lora().rank(), policy.max_rank));
  }
  const uint64_t upload = config.num_values() * config.aggregation().ring_bits() / 8;
  if (policy.max_upload_bytes != 0 && upload > policy.max_upload_bytes) {
    return absl::FailedPreconditionError(
        fmt::format("run {} uploads {} bytes a round, this device allows {} (max_upload_mib)",
                    config.run_id(), upload, policy.max_upload_bytes));
  }
  return absl::OkStatus();
}

absl::Status AllowsNow(const OwnerPolicy& policy, const DeviceConditions& now) {
  if (policy.only_on_power && now.on_battery) return absl::UnavailableError("on battery");
  if (now.battery_percent.has_value() && *now.battery_percent < policy.min_battery_percent) {
    return absl::UnavailableError(fmt::format("battery at {:.0f} %, below {:.0f} %",
                                              *now.battery_percent, policy.min_battery_percent));
  }
  if (now.temperature_c.has_value() && *now.temperature_c > policy.max_temperature_c) {
    return absl::UnavailableError(fmt::format("hot: {:.0f} °C, above {:.0f} °C", *now.temperature_c,
                                              policy.max_temperature_c));
  }
  if (policy.max_load_per_core > 0 && now.load_per_core > policy.max_load_per_core) {
    return absl::UnavailableError(fmt::format("busy: load {:.2f} a core, above {:.2f}",
                                              now.load_per_core, policy.max_load_per_core));
  }
  const auto& interfaces = policy.network_interfaces;
  if (!interfaces.empty() &&
      std::none_of(interfaces.begin(), interfaces.end(), [&now](const std::string& pattern) {
        return Matches(pattern, now.network_interface);
      })) {
    return absl::UnavailableError(
        fmt::format("the network goes through \"{}\", which is not listed", now.network_interface));
  }
  return absl::OkStatus();
}

}  // namespace choir::node
