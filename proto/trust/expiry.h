#ifndef CHOIR_PROTO_TRUST_EXPIRY_H_
#define CHOIR_PROTO_TRUST_EXPIRY_H_

// When what was signed for a time has to be signed again.

#include <string>
#include <string_view>

#include "absl/time/time.h"

namespace choir::trust {

// People are told so long before an end that they must see to.
inline constexpr absl::Duration kWarnBefore = absl::Hours(24 * 30);

// "WHAT ends on 2027-01-15, in 12 days" from kWarnBefore on, "WHAT ended on ..." afterwards; empty
// before. Dates in UTC.
std::string ExpiryWarning(std::string_view what, absl::Time not_after, absl::Time now);

}  // namespace choir::trust

#endif  // CHOIR_PROTO_TRUST_EXPIRY_H_
