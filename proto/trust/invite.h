#ifndef CHOIR_PROTO_TRUST_INVITE_H_
#define CHOIR_PROTO_TRUST_INVITE_H_

// An invite as one string that a person can copy: "choir1:" + base64url of the message.

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "choir/v1/federation.pb.h"

namespace choir::trust {

std::string EncodeInvite(const v1::Invite& invite);

// Checks form, field sizes and that the root certificate's key is the federation's id.
// INVALID_ARGUMENT (not an invite, or cut short), DEADLINE_EXCEEDED (expired: ask for another).
absl::StatusOr<v1::Invite> DecodeInvite(std::string_view text, absl::Time now);

}  // namespace choir::trust

#endif  // CHOIR_PROTO_TRUST_INVITE_H_
