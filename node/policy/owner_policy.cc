#include "node/policy/owner_policy.h"

#include <toml++/toml.h>

#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "base/file.h"
#include "base/hex.h"
#include "base/status_macros.h"

namespace choir::node {
namespace {

constexpr uint32_t kCohortFloor = 3;  // below it a node's update is no secret
constexpr uint64_t kMebibyte = uint64_t{1} << 20;

// Reads one table, key by key, and then complains of keys that nobody asked for.
class Section {
 public:
  Section(const toml::table& root, std::string_view name, std::string_view source)
      : name_(name), source_(source) {
    const toml::node* node = root.get(name);
    if (node == nullptr) return;
    table_ = node->as_table();
    if (table_ == nullptr) Fail(name, "must be a table");
  }

  template <typename T>
  void Read(std::string_view key, T& out, std::string_view wanted) {
    const toml::node* node = Get(key);
    if (node == nullptr) return;
    const auto value = node->value<T>();
    if (value.has_value()) {
      out = *value;
    } else {
      Fail(key, wanted);
    }
  }

  // A whole number from 0 up.
  void ReadCount(std::string_view key, uint64_t& out, uint64_t most) {
    const toml::node* node = Get(key);
    if (node == nullptr) return;
    const std::optional<int64_t> value = node->value<int64_t>();
    if (!value.has_value() || *value < 0 || static_cast<uint64_t>(*value) > most) {
      Fail(key, fmt::format("must be a whole number from 0 to {}", most));
      return;
    }
    out = static_cast<uint64_t>(*value);
  }

  void ReadList(std::string_view key, std::vector<std::string>& out) {
    const toml::node* node = Get(key);
    if (node == nullptr) return;
    const toml::array* list = node->as_array();
    if (list == nullptr) {
      Fail(key, "must be a list of texts");
      return;
    }
    for (const toml::node& entry : *list) {
      const std::optional<std::string> text = entry.value<std::string>();
      if (!text.has_value()) Fail(key, "must be a list of texts");
      out.push_back(text.value_or(""));
    }
  }

  void Fail(std::string_view key, std::string_view wanted) {
    if (!status_.ok()) return;
    status_ =
        absl::InvalidArgumentError(fmt::format("{}: [{}] {} {}", source_, name_, key, wanted));
  }

  // The first complaint, if any; an unknown key is one, too.
  absl::Status Finish() {
    if (status_.ok() && table_ != nullptr) {
      for (const auto& [key, value] : *table_) {
        if (!known_.contains(std::string(key.str()))) Fail(key.str(), "is no setting that exists");
      }
    }
    return status_;
  }

 private:
  const toml::node* Get(std::string_view key) {
    known_.insert(std::string(key));
    return table_ == nullptr ? nullptr : table_->get(key);
  }

  std::string_view name_;
  std::string_view source_;
  const toml::table* table_ = nullptr;
  std::set<std::string> known_;
  absl::Status status_;
};

absl::Status ReadPolicySection(const toml::table& root, std::string_view source,
                               OwnerPolicy& policy) {
  Section section(root, "policy", source);
  std::string consent = "ask";
  section.Read("consent", consent, "must be a text");
  if (consent == "ask") {
    policy.consent = Consent::kAsk;
  } else if (consent == "allow-listed") {
    policy.consent = Consent::kAllowListed;
  } else if (consent == "auto") {
    policy.consent = Consent::kAuto;
  } else {
    section.Fail("consent", "must be \"ask\", \"allow-listed\" or \"auto\"");
  }
  section.ReadList("allowed_runs", policy.allowed_runs);
  section.ReadList("allowed_models", policy.allowed_models);
  uint64_t min_cohort = policy.min_cohort;
  section.ReadCount("min_cohort", min_cohort, 1000);
  if (min_cohort < kCohortFloor) {
    section.Fail("min_cohort",
                 fmt::format("must be at least {}: in a smaller group, others could work out what "
                             "this device sent",
                             kCohortFloor));
  }
  policy.min_cohort = static_cast<uint32_t>(min_cohort);
  section.Read("only_on_power", policy.only_on_power, "must be true or false");
  section.Read("min_battery_percent", policy.min_battery_percent, "must be a number");
  section.Read("max_temperature_c", policy.max_temperature_c, "must be a number");
  section.Read("max_load_per_core", policy.max_load_per_core, "must be a number");
  section.ReadList("network_interfaces", policy.network_interfaces);
  uint64_t memory_mib = 0;
  uint64_t upload_mib = 0;
  section.ReadCount("max_memory_mib", memory_mib, uint64_t{1} << 30);
  section.ReadCount("max_upload_mib", upload_mib, uint64_t{1} << 30);
  policy.max_memory_bytes = memory_mib * kMebibyte;
  policy.max_upload_bytes = upload_mib * kMebibyte;
  return section.Finish();
}

absl::Status ReadEngineSection(const toml::table& root, std::string_view source,
                               OwnerPolicy& policy) {
  Section section(root, "engine", source);
  section.Read("backend", policy.backend, "must be \"auto\", \"cpu\" or \"vulkan\"");
  if (policy.backend != "auto" && policy.backend != "cpu" && policy.backend != "vulkan") {
    section.Fail("backend", "must be \"auto\", \"cpu\" or \"vulkan\"");
  }
  uint64_t threads = 0;
  uint64_t niceness = 10;
  section.ReadCount("threads", threads, 1024);
  section.ReadCount("nice", niceness, 19);
  policy.threads = static_cast<int>(threads);
  policy.niceness = static_cast<int>(niceness);
  return section.Finish();
}

absl::StatusOr<toml::table> ParseToml(std::string_view text, std::string_view source) {
  try {
    return toml::parse(text);
  } catch (const toml::parse_error& error) {
    return absl::InvalidArgumentError(fmt::format("{}:{}: {}", source, error.source().begin.line,
                                                  std::string(error.description())));
  }
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
  CHOIR_ASSIGN_OR_RETURN(const toml::table root, ParseToml(text, source));
  for (const auto& [key, value] : root) {
    constexpr std::string_view kSections[] = {"data", "policy", "engine", "models"};
    if (std::find(std::begin(kSections), std::end(kSections), key.str()) == std::end(kSections)) {
      return absl::InvalidArgumentError(
          fmt::format("{}: [{}] is no section that exists: there are data, policy, engine, models",
                      source, std::string(key.str())));
    }
  }
  OwnerPolicy policy;
  Section data(root, "data", source);
  data.Read("folder", policy.data_folder, "must be a text");
  CHOIR_RETURN_IF_ERROR(data.Finish());
  CHOIR_RETURN_IF_ERROR(ReadPolicySection(root, source, policy));
  CHOIR_RETURN_IF_ERROR(ReadEngineSection(root, source, policy));
  Section models(root, "models", source);
  models.ReadList("paths", policy.model_paths);
  CHOIR_RETURN_IF_ERROR(models.Finish());
  if (policy.data_folder.empty()) {
    return absl::InvalidArgumentError(
        fmt::format("{}: [data] folder must name the folder to train on", source));
  }
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
