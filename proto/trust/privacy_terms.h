#ifndef CHOIR_PROTO_TRUST_PRIVACY_TERMS_H_
#define CHOIR_PROTO_TRUST_PRIVACY_TERMS_H_

// What a run says about differential privacy, as secure aggregation and both ends of the wire read
// it.

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "choir/v1/federation.pb.h"
#include "choir/v1/run.pb.h"
#include "secure-agg/core/messages.h"

namespace choir::trust {

// The parameters that every session of the run must have. INVALID_ARGUMENT for an unknown
// mechanism.
absl::StatusOr<secagg::PrivacyParams> SessionPrivacyOf(const v1::PrivacySpec& spec);

// PERMISSION_DENIED, in words that name the setting, if the run promises less than the authority
// asks of every run.
absl::Status MeetsFloor(const v1::PrivacySpec& spec, const v1::PrivacyFloor& floor);

}  // namespace choir::trust

#endif  // CHOIR_PROTO_TRUST_PRIVACY_TERMS_H_
