#include "secure-agg/client/client_policy.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "secure-agg/core/abort_reason.h"
#include "secure-agg/core/seeded_bug.h"
#include "secure-agg/core/transcript.h"

namespace choir::secagg {
namespace {

absl::Status CheckFreshness(const SessionConfig& config, const ClientContext& context) {
  if (config.round_counter <= context.last_round_counter - (CHOIR_SEEDED_BUG(12) ? 1 : 0)) {
    return Refusal(AbortReason::kReplayedRound,
                   fmt::format("round counter {} is not above {}, the last one seen",
                               config.round_counter, context.last_round_counter));
  }
  const int64_t now_ms = absl::ToUnixMillis(context.now);
  if (config.expires_at_ms <= now_ms) {
    return Refusal(
        AbortReason::kExpired,
        fmt::format("the configuration expired {} ms ago (is this device's clock right?)",
                    now_ms - config.expires_at_ms));
  }
  return absl::OkStatus();
}

absl::Status CheckHash(const Digest& got, const Digest& own, AbortReason reason,
                       std::string_view what) {
  if (got == own) return absl::OkStatus();
  return Refusal(reason, fmt::format("the session's {} is {}, this node has {}", what,
                                     DigestToHex(got), DigestToHex(own)));
}

absl::Status CheckSubject(const SessionConfig& config, const ClientContext& context) {
  if (config.federation_id != context.federation_id || config.run_id != context.run_id ||
      config.round != context.round) {
    return Refusal(
        AbortReason::kForeignFederation,
        fmt::format("the configuration is for federation {}, run {}, round {}; this node "
                    "is in {}, {}, {}",
                    config.federation_id, config.run_id, config.round, context.federation_id,
                    context.run_id, context.round));
  }
  CHOIR_RETURN_IF_ERROR(
      CheckHash(config.base_hash, context.base_hash, AbortReason::kBaseMismatch, "base model"));
  CHOIR_RETURN_IF_ERROR(CheckHash(config.adapter_hash, context.adapter_hash,
                                  AbortReason::kAdapterMismatch, "adapter"));
  CHOIR_RETURN_IF_ERROR(CheckHash(config.lora_digest, context.lora_digest,
                                  AbortReason::kShapeMismatch, "LoRA shape"));
  if (context.privacy.has_value() && config.privacy != *context.privacy) {
    return Refusal(
        AbortReason::kPrivacyBelowFloor,
        fmt::format(
            "the session has noise {} of multiplier {}, its run promises {} of {}",
            privacy::MechanismName(config.privacy.mechanism), config.privacy.noise_multiplier,
            privacy::MechanismName(context.privacy->mechanism), context.privacy->noise_multiplier));
  }
  if (config.delta_length != context.delta_length) {
    return Refusal(AbortReason::kShapeMismatch,
                   fmt::format("the session sums {} values, this node has {}", config.delta_length,
                               context.delta_length));
  }
  return absl::OkStatus();
}

absl::Status CheckFloors(const SessionConfig& config, const ClientPolicyOptions& floor) {
  if (config.min_cohort < floor.min_cohort) {
    return Refusal(AbortReason::kCohortBelowMinimum,
                   fmt::format("the session allows {} nodes, this node wants at least {}",
                               config.min_cohort, floor.min_cohort));
  }
  if (config.word_bits < floor.min_word_bits || config.value_bits < floor.min_value_bits ||
      std::ranges::find(floor.allowed_prgs, config.prg) == floor.allowed_prgs.end()) {
    return Refusal(
        AbortReason::kWeakParameters,
        fmt::format("{}-bit values in {}-bit words under generator {}; this node wants {} "
                    "in {} under a generator it allows",
                    config.value_bits, config.word_bits, static_cast<int>(config.prg),
                    floor.min_value_bits, floor.min_word_bits));
  }
  if (config.graph == GraphKind::kRegular && config.corrupt_percent < floor.min_corrupt_percent) {
    return Refusal(
        AbortReason::kGraphNotAllowed,
        fmt::format("a graph that bears {} % of nodes on the coordinator's side, this node "
                    "wants {} %",
                    config.corrupt_percent, floor.min_corrupt_percent));
  }
  if (floor.min_noise_multiplier > 0 &&
      (config.privacy.mechanism == NoiseMechanism::kNone ||
       !(config.privacy.noise_multiplier >= floor.min_noise_multiplier))) {
    return Refusal(AbortReason::kPrivacyBelowFloor,
                   fmt::format("noise multiplier {}, this node wants at least {}",
                               config.privacy.noise_multiplier, floor.min_noise_multiplier));
  }
  if (floor.distributed_noise_only && !privacy::IsDistributed(config.privacy.mechanism)) {
    return Refusal(AbortReason::kPrivacyBelowFloor,
                   fmt::format("noise {}, this node wants noise that the nodes add themselves",
                               privacy::MechanismName(config.privacy.mechanism)));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ClientPolicy> ClientPolicy::Create(ClientPolicyOptions options) {
  if (options.min_cohort < kCohortFloor) {
    return Refusal(AbortReason::kPolicyBelowFloor,
                   fmt::format("a cohort of {} nodes shows one node's update to another; the floor "
                               "is {}",
                               options.min_cohort, kCohortFloor));
  }
  if (options.allowed_prgs.empty() || !(options.min_noise_multiplier >= 0)) {
    return Refusal(AbortReason::kPolicyBelowFloor,
                   "no mask generator is allowed, or the noise floor is no number");
  }
  return ClientPolicy(std::move(options));
}

absl::Status CheckConfig(const SessionConfig& config, const ClientContext& context,
                         const ClientPolicy& policy) {
  if (!CHOIR_SEEDED_BUG(11) &&
      !VerifySignature(context.coordinator_key, ConfigSigningBytes(HashConfig(config)),
                       config.signature)) {
    return Refusal(AbortReason::kBadConfigSignature,
                   "the configuration is not signed by this federation's coordinator");
  }
  CHOIR_RETURN_IF_ERROR(CheckFreshness(config, context));
  CHOIR_RETURN_IF_ERROR(CheckSubject(config, context));
  CHOIR_RETURN_IF_ERROR(CheckFloors(config, policy.options()));
  return ValidateConfig(config);
}

}  // namespace choir::secagg
