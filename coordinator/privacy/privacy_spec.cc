#include "coordinator/privacy/privacy_spec.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "proto/trust/privacy_terms.h"

namespace choir::coordinator {
namespace {

constexpr double kDefaultDelta = 1e-5;
constexpr double kLargestDelta = 0.1;
// Andrew et al. 2021 and Flower: target 0.5, rate 0.2, noise of a twentieth of the cohort.
constexpr double kTargetUnclipped = 0.5;
constexpr double kClipLearningRate = 0.2;
constexpr double kClipBitShare = 20;
constexpr double kLargestEpsilon = 1e6;

absl::Status Invalid(std::string_view field, const std::string& text) {
  return absl::InvalidArgumentError(fmt::format("privacy.{}: {}", field, text));
}

absl::Status CheckNumber(std::string_view field, double value, double most) {
  if (std::isfinite(value) && value >= 0 && value <= most) return absl::OkStatus();
  return Invalid(field, fmt::format("{}; 0 to {}", value, most));
}

absl::Status CheckNumbers(const v1::PrivacySpec& spec) {
  CHOIR_RETURN_IF_ERROR(CheckNumber("noise_multiplier", spec.noise_multiplier(), 1e4));
  CHOIR_RETURN_IF_ERROR(CheckNumber("target_epsilon", spec.target_epsilon(), kLargestEpsilon));
  CHOIR_RETURN_IF_ERROR(CheckNumber("delta", spec.delta(), kLargestDelta));
  CHOIR_RETURN_IF_ERROR(CheckNumber("budget_epsilon", spec.budget_epsilon(), kLargestEpsilon));
  CHOIR_RETURN_IF_ERROR(CheckNumber("target_unclipped", spec.target_unclipped(), 1));
  CHOIR_RETURN_IF_ERROR(CheckNumber("clip_learning_rate", spec.clip_learning_rate(), 10));
  return CheckNumber("clip_bit_noise", spec.clip_bit_noise(), 1e4);
}

void FillAdaptiveClip(v1::PrivacySpec& spec) {
  if (!spec.adaptive_clip()) return;
  if (spec.target_unclipped() == 0) spec.set_target_unclipped(kTargetUnclipped);
  if (spec.clip_learning_rate() == 0) spec.set_clip_learning_rate(kClipLearningRate);
}

void FillClipBitNoise(v1::RunConfig& config, bool chosen) {
  v1::PrivacySpec& spec = *config.mutable_privacy();
  if (!spec.adaptive_clip() || chosen) return;
  const double share = config.aggregation().target_cohort() / kClipBitShare;
  spec.set_clip_bit_noise(std::max(share, spec.noise_multiplier()));
}

// The smallest multiplier, to 4 digits, whose rounds all fit: the mechanism costs a little more
// than the Gaussian from which the search begins.
absl::Status FindMultiplier(v1::RunConfig& config, bool clip_bit_chosen, SessionCost cost) {
  v1::PrivacySpec& spec = *config.mutable_privacy();
  const uint32_t rounds = config.pacing().rounds();
  CHOIR_ASSIGN_OR_RETURN(double multiplier,
                         privacy::NoiseMultiplierFor(spec.target_epsilon(), spec.delta(), rounds));
  constexpr int kMostSteps = 200;
  for (int i = 0; i < kMostSteps; ++i) {
    spec.set_noise_multiplier(multiplier);
    FillClipBitNoise(config, clip_bit_chosen);
    CHOIR_ASSIGN_OR_RETURN(const privacy::RdpCurve one, cost());
    if (privacy::EpsilonOf(one.Times(rounds), spec.delta()) <= spec.target_epsilon()) {
      return absl::OkStatus();
    }
    multiplier = std::ceil(multiplier * 1.002 * 1e4) / 1e4;
  }
  return Invalid("target_epsilon", fmt::format("{} cannot be kept over {} rounds with mechanism {}",
                                               spec.target_epsilon(), rounds, spec.mechanism()));
}

absl::Status FillNoise(v1::RunConfig& config, SessionCost cost) {
  v1::PrivacySpec& spec = *config.mutable_privacy();
  if ((spec.noise_multiplier() > 0) == (spec.target_epsilon() > 0)) {
    return Invalid("noise_multiplier", "give this or target_epsilon, and not both");
  }
  if (spec.delta() == 0) spec.set_delta(kDefaultDelta);
  const bool chosen = spec.clip_bit_noise() > 0;
  if (spec.target_epsilon() > 0) {
    CHOIR_RETURN_IF_ERROR(FindMultiplier(config, chosen, cost));
    if (spec.budget_epsilon() == 0) spec.set_budget_epsilon(spec.target_epsilon());
    return absl::OkStatus();
  }
  FillClipBitNoise(config, chosen);
  return cost().status();
}

}  // namespace

absl::Status CompletePrivacySpec(v1::RunConfig& config, const v1::PrivacyFloor& floor,
                                 SessionCost cost) {
  v1::PrivacySpec& spec = *config.mutable_privacy();
  CHOIR_RETURN_IF_ERROR(CheckNumbers(spec));
  if (spec.mechanism().empty()) spec.set_mechanism("none");
  CHOIR_RETURN_IF_ERROR(trust::SessionPrivacyOf(spec).status());
  FillAdaptiveClip(spec);
  if (spec.mechanism() == "none") {
    if (spec.noise_multiplier() != 0 || spec.target_epsilon() != 0 || spec.delta() != 0 ||
        spec.budget_epsilon() != 0 || spec.clip_bit_noise() != 0) {
      return Invalid("mechanism",
                     "without one there is no noise, delta or budget: name a mechanism");
    }
    return trust::MeetsFloor(spec, floor);
  }
  if (config.aggregation().max_examples_weight() != 1.0f) {
    return absl::InvalidArgumentError(
        "aggregation.equal_weights: must be true with differential privacy; weights would be "
        "summed "
        "without noise");
  }
  CHOIR_RETURN_IF_ERROR(FillNoise(config, cost));
  return trust::MeetsFloor(spec, floor);
}

}  // namespace choir::coordinator
