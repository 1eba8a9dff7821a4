#include "proto/trust/expiry.h"

#include <fmt/format.h>

namespace choir::trust {

std::string ExpiryWarning(std::string_view what, absl::Time not_after, absl::Time now) {
  const absl::Duration left = not_after - now;
  if (left > kWarnBefore) return "";
  const std::string date = absl::FormatTime("%Y-%m-%d", not_after, absl::UTCTimeZone());
  if (left <= absl::ZeroDuration()) return fmt::format("{} ended on {}", what, date);
  return fmt::format("{} ends on {}, in {} days", what, date, left / absl::Hours(24));
}

}  // namespace choir::trust
