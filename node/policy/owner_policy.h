#ifndef CHOIR_NODE_POLICY_OWNER_POLICY_H_
#define CHOIR_NODE_POLICY_OWNER_POLICY_H_

// What the device's owner allows: which work, under which conditions, with what data. Pure
// decisions; the daemon reads the file and the device.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "choir/v1/run.pb.h"
#include "node/policy/device_conditions.h"

namespace choir::node {

enum class Consent : uint8_t {
  kAsk,          // each run waits for `choir node allow RUN`
  kAllowListed,  // only runs that allowed_runs lists
  kAuto,         // any run of the federation
};

struct OwnerPolicy {
  // [data]
  std::string data_folder;  // JSONL, text, Markdown; never leaves the device

  // [policy]
  Consent consent = Consent::kAsk;
  std::vector<std::string> allowed_runs;
  std::vector<std::string> allowed_models;  // SHA-256 in hexadecimal; empty: any
  uint32_t min_cohort = 8;                  // never below 3
  uint32_t min_corrupt_percent = 5;         // of cohorts on a regular graph; 100: none of them
  bool only_on_power = true;
  double min_battery_percent = 30;
  double max_temperature_c = 80;
  double max_load_per_core = 0;                 // 0: no limit
  std::vector<std::string> network_interfaces;  // unmetered ones ("wlan0", "eth*"); empty: any
  uint64_t max_memory_bytes = 0;                // 0: what is free
  uint32_t max_rank = 0;                        // LoRA components trained at once; 0: all
  uint64_t max_upload_bytes = 0;                // a round; 0: no limit

  // [privacy]
  std::string noise = "any";  // "some": no run without it; "distributed": only what nodes add
  double min_noise_multiplier = 0;
  double max_epsilon = 0;  // of all that ever leaves this device; 0: no limit
  double delta = 1e-5;     // at which it is counted

  // [engine]
  std::string backend = "auto";
  int threads = 0;
  int niceness = 10;

  // [models]
  std::vector<std::string> model_paths;  // base models that the device has already

  friend bool operator==(const OwnerPolicy&, const OwnerPolicy&) = default;
};

// Reads node.toml. INVALID_ARGUMENT names the line, or the key, what it holds and what it may hold.
absl::StatusOr<OwnerPolicy> ParseOwnerPolicy(std::string_view toml, std::string_view source_name);

// May this run's work be done? FAILED_PRECONDITION says what the owner could change.
absl::Status AllowsRun(const OwnerPolicy& policy, const v1::RunConfig& config,
                       const std::vector<std::string>& runs_allowed_since);

// May the device work now? UNAVAILABLE says why not: "on battery", ...
absl::Status AllowsNow(const OwnerPolicy& policy, const DeviceConditions& conditions);

}  // namespace choir::node

#endif  // CHOIR_NODE_POLICY_OWNER_POLICY_H_
