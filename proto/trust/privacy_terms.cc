#include "proto/trust/privacy_terms.h"

#include <string>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "privacy/mechanism.h"

namespace choir::trust {

absl::StatusOr<secagg::PrivacyParams> SessionPrivacyOf(const v1::PrivacySpec& spec) {
  secagg::PrivacyParams params;
  if (spec.mechanism().empty()) return params;
  const std::optional<privacy::Mechanism> mechanism = privacy::MechanismFromName(spec.mechanism());
  if (!mechanism.has_value()) {
    return absl::InvalidArgumentError(
        fmt::format("privacy.mechanism: \"{}\" is none of none, discrete-gaussian, skellam, "
                    "central-gaussian",
                    spec.mechanism()));
  }
  if (*mechanism == privacy::Mechanism::kNone) return params;
  params.mechanism = *mechanism;
  params.noise_multiplier = spec.noise_multiplier();
  params.delta = spec.delta();
  if (spec.adaptive_clip()) params.clip_bit_noise = spec.clip_bit_noise();
  return params;
}

absl::Status MeetsFloor(const v1::PrivacySpec& spec, const v1::PrivacyFloor& floor) {
  CHOIR_ASSIGN_OR_RETURN(const secagg::PrivacyParams params, SessionPrivacyOf(spec));
  if (floor.distributed() && !privacy::IsDistributed(params.mechanism)) {
    return absl::PermissionDeniedError(fmt::format(
        "the federation's manifest wants noise that the nodes add themselves; the run has {}",
        privacy::MechanismName(params.mechanism)));
  }
  if (params.noise_multiplier < floor.min_noise_multiplier()) {
    return absl::PermissionDeniedError(
        fmt::format("the run's noise multiplier is {}, the federation's manifest wants at least {}",
                    params.noise_multiplier, floor.min_noise_multiplier()));
  }
  const double budget = spec.budget_epsilon();
  if (floor.max_epsilon() > 0 && (params.mechanism == privacy::Mechanism::kNone || !(budget > 0) ||
                                  budget > floor.max_epsilon())) {
    return absl::PermissionDeniedError(
        fmt::format("the run's budget is epsilon {} (0: none), the federation's manifest wants a "
                    "budget of at most {}",
                    budget, floor.max_epsilon()));
  }
  if (floor.max_delta() > 0 && params.delta > floor.max_delta()) {
    return absl::PermissionDeniedError(
        fmt::format("the run's delta is {}, the federation's manifest wants at most {}",
                    params.delta, floor.max_delta()));
  }
  return absl::OkStatus();
}

}  // namespace choir::trust
