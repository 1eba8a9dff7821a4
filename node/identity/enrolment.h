#ifndef CHOIR_NODE_IDENTITY_ENROLMENT_H_
#define CHOIR_NODE_IDENTITY_ENROLMENT_H_

// Joining a federation with an invite.

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "base/random.h"
#include "node/identity/identity.h"

namespace choir::node {

// Makes the device key if there is none, redeems the invite with the coordinator that it pins,
// checks what comes back, and stores it in `home` (made with mode 0700). The same invite may be
// redeemed again by the same device, so a lost answer does no harm. ALREADY_EXISTS: this home
// belongs to a federation. INVALID_ARGUMENT, DEADLINE_EXCEEDED: the invite. UNAVAILABLE: the
// coordinator cannot be reached. PERMISSION_DENIED: it refuses, or is not the pinned one.
absl::StatusOr<Identity> Enrol(const NodeHome& home, std::string_view invite_text,
                               std::string_view display_name, absl::Time now, RandomSource& random);

}  // namespace choir::node

#endif  // CHOIR_NODE_IDENTITY_ENROLMENT_H_
