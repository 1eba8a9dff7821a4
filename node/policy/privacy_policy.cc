#include "node/policy/privacy_policy.h"

#include <cmath>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "privacy/mechanism.h"
#include "proto/trust/privacy_terms.h"
#include "secure-agg/core/abort_reason.h"

namespace choir::node {
namespace {

absl::Status BelowFloor(const std::string& detail) {
  return secagg::Refusal(secagg::AbortReason::kPrivacyBelowFloor, detail);
}

}  // namespace

absl::Status FitsBudget(const OwnerPolicy& policy, const privacy::RdpCurve& spent,
                        const privacy::RdpCurve& cost) {
  if (policy.max_epsilon == 0) return absl::OkStatus();
  privacy::RdpCurve after = spent;
  after += cost;
  const double before = privacy::EpsilonOf(spent, policy.delta);
  const double epsilon = privacy::EpsilonOf(after, policy.delta);
  if (epsilon <= policy.max_epsilon) return absl::OkStatus();
  return secagg::Refusal(
      absl::StatusCode::kFailedPrecondition, secagg::AbortReason::kPrivacyBudgetExhausted,
      fmt::format(
          "another round would bring this device from epsilon {:.4f} to {:.4f} at delta {}, "
          "past its owner's budget of {} ([privacy] max_epsilon)",
          before, epsilon, policy.delta, policy.max_epsilon));
}

absl::Status AllowsPrivacy(const OwnerPolicy& policy, const v1::PrivacySpec& spec,
                           const privacy::RdpCurve& spent) {
  CHOIR_ASSIGN_OR_RETURN(const secagg::PrivacyParams params, trust::SessionPrivacyOf(spec));
  const bool none = params.mechanism == privacy::Mechanism::kNone;
  if ((policy.noise == "some" && none) ||
      (policy.noise == "distributed" && !privacy::IsDistributed(params.mechanism))) {
    return BelowFloor(
        fmt::format("the run's noise is \"{}\", this device wants \"{}\" ([privacy] noise)",
                    privacy::MechanismName(params.mechanism), policy.noise));
  }
  if (params.noise_multiplier < policy.min_noise_multiplier) {
    return BelowFloor(
        fmt::format("the run's noise multiplier is {}, this device wants at least {} ([privacy] "
                    "min_noise_multiplier)",
                    params.noise_multiplier, policy.min_noise_multiplier));
  }
  // Not a number that could be said: a cost of nothing or of infinity.
  const bool counted = !none && params.noise_multiplier > 0;
  return FitsBudget(policy, spent,
                    counted ? privacy::GaussianRdp(params.noise_multiplier)
                            : privacy::RdpCurve::Of([](double) { return HUGE_VAL; }));
}

}  // namespace choir::node
