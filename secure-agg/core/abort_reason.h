#ifndef CHOIR_SECURE_AGG_CORE_ABORT_REASON_H_
#define CHOIR_SECURE_AGG_CORE_ABORT_REASON_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace choir::secagg {

// Why a message was refused or a session ended: a stable code that travels in every refusal's
// absl::Status, so that an operator and a node's owner can read it. See abort_reasons.def.
enum class AbortReason : uint8_t {
#define CHOIR_ABORT_REASON(Name, number, name, text) k##Name = number,
#include "secure-agg/core/abort_reasons.def"
#undef CHOIR_ABORT_REASON
};

// The stable name, as in logs and metrics: "cohort-below-minimum".
std::string_view AbortReasonName(AbortReason reason);
// One sentence for people.
std::string_view AbortReasonText(AbortReason reason);
// Nothing for a number or a name that is none of ours.
std::optional<AbortReason> AbortReasonFromNumber(uint8_t number);
std::optional<AbortReason> AbortReasonFromName(std::string_view name);

// The reason that Refusal() attached; nothing for a status from elsewhere.
std::optional<AbortReason> ReasonOf(const absl::Status& status);

// A status of `code` whose message is "<name>: <detail>" and that carries the reason.
absl::Status Refusal(absl::StatusCode code, AbortReason reason, std::string_view detail);
// The same with the code that the reason usually has: FAILED_PRECONDITION for a message that does
// not fit the stage, DATA_LOSS for what does not decode or verify, PERMISSION_DENIED for a cheat or
// a policy floor, ABORTED for a session that cannot go on.
absl::Status Refusal(AbortReason reason, std::string_view detail);

}  // namespace choir::secagg

#endif  // CHOIR_SECURE_AGG_CORE_ABORT_REASON_H_
