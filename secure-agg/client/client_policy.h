#ifndef CHOIR_SECURE_AGG_CLIENT_CLIENT_POLICY_H_
#define CHOIR_SECURE_AGG_CLIENT_CLIENT_POLICY_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "secure-agg/core/messages.h"

namespace choir::secagg {

// With fewer than three nodes one of them learns another's update by subtracting its own.
inline constexpr uint32_t kCohortFloor = 3;
inline constexpr uint32_t kDefaultMinCohort = 8;
inline constexpr uint32_t kDefaultMinCorruptPercent = 5;

struct ClientPolicyOptions {
  uint32_t min_cohort = kDefaultMinCohort;  // never below kCohortFloor
  uint32_t min_word_bits = 16;
  uint32_t min_value_bits = 8;
  std::vector<Prg> allowed_prgs = {Prg::kChaCha20, Prg::kAes256Ctr};
  // Cohorts on a regular graph must bear at least this share of nodes that work with the
  // coordinator; 100 refuses all of them.
  uint32_t min_corrupt_percent = kDefaultMinCorruptPercent;
  double min_noise_multiplier = 0;      // above zero, sessions without noise are refused
  bool distributed_noise_only = false;  // only noise that the nodes add themselves
};

// The owner's own rules, that no coordinator can lower. Immutable.
class ClientPolicy {
 public:
  // kPolicyBelowFloor if min_cohort < kCohortFloor or a floor makes no sense.
  static absl::StatusOr<ClientPolicy> Create(ClientPolicyOptions options);
  [[nodiscard]] const ClientPolicyOptions& options() const { return options_; }

 private:
  explicit ClientPolicy(ClientPolicyOptions options) : options_(std::move(options)) {}
  ClientPolicyOptions options_;
};

// What the node knows by itself about the session that it is about to enter.
struct ClientContext {
  NodeId self;
  PublicKey coordinator_key{};  // pinned at enrolment
  std::string federation_id;
  std::string run_id;
  uint64_t round = 0;
  Digest base_hash{};
  Digest adapter_hash{};  // of the adapter bytes that the node trained from
  Digest lora_digest{};
  uint64_t delta_length = 0;
  uint64_t last_round_counter = 0;  // the highest of any configuration ever accepted; 0 for none
  absl::Time now;
  // What the run promises; nothing: the session may promise anything above the owner's floor.
  std::optional<PrivacyParams> privacy = {};
};

// A0's checks: signature, freshness, and everything against the context and the policy.
absl::Status CheckConfig(const SessionConfig& config, const ClientContext& context,
                         const ClientPolicy& policy);

}  // namespace choir::secagg

#endif  // CHOIR_SECURE_AGG_CLIENT_CLIENT_POLICY_H_
