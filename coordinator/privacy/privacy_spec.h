#ifndef CHOIR_COORDINATOR_PRIVACY_PRIVACY_SPEC_H_
#define CHOIR_COORDINATOR_PRIVACY_PRIVACY_SPEC_H_

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "choir/v1/federation.pb.h"
#include "choir/v1/run.pb.h"
#include "privacy/accountant.h"

// What an operator may ask of a run's privacy, completed and checked.
namespace choir::coordinator {

// What one session of the run costs, with the noise that the specification now says.
using SessionCost = absl::FunctionRef<absl::StatusOr<privacy::RdpCurve>()>;

// Fills in delta (1e-5), the adaptive clip's settings, the multiplier that a target asks for (found
// with `cost`, which sees the changes), and the budget that a target implies; checks all of it
// against the manifest's floor. INVALID_ARGUMENT, PERMISSION_DENIED; the text names the setting.
absl::Status CompletePrivacySpec(v1::RunConfig& config, const v1::PrivacyFloor& floor,
                                 SessionCost cost);

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_PRIVACY_PRIVACY_SPEC_H_
