#ifndef CHOIR_NODE_POLICY_PRIVACY_POLICY_H_
#define CHOIR_NODE_POLICY_PRIVACY_POLICY_H_

// The owner's own demands on privacy, that no coordinator can lower: kinds of noise, and a budget
// over everything that ever leaves the device. Pure decisions; the ledger knows what was spent.

#include "absl/status/status.h"

#include "choir/v1/run.pb.h"
#include "node/policy/owner_policy.h"
#include "privacy/accountant.h"

namespace choir::node {

// May the device work for this run at all? PERMISSION_DENIED with kPrivacyBelowFloor, or
// FAILED_PRECONDITION with kPrivacyBudgetExhausted if even what its noise multiplier alone costs
// would pass the owner's budget. The session itself is checked once its configuration is there.
absl::Status AllowsPrivacy(const OwnerPolicy& policy, const v1::PrivacySpec& spec,
                           const privacy::RdpCurve& spent);

// May something of this cost leave the device? FAILED_PRECONDITION with kPrivacyBudgetExhausted and
// the numbers.
absl::Status FitsBudget(const OwnerPolicy& policy, const privacy::RdpCurve& spent,
                        const privacy::RdpCurve& cost);

}  // namespace choir::node

#endif  // CHOIR_NODE_POLICY_PRIVACY_POLICY_H_
