#ifndef CHOIR_COORDINATOR_SERVICE_NOT_STORED_H_
#define CHOIR_COORDINATOR_SERVICE_NOT_STORED_H_

#include <string>

#include "absl/status/status.h"
#include <fmt/format.h>

#include "secure-agg/core/abort_reason.h"

namespace choir::coordinator {

// A file of a round that could not be written: says nothing against its nodes, and the next round
// tries again, so the round ends by a reason of its own. OK stays OK.
inline absl::Status NotStored(const absl::Status& written) {
  if (written.ok()) return written;
  return secagg::Refusal(
      secagg::AbortReason::kNotStored,
      fmt::format("{}; the next round tries again by itself", std::string(written.message())));
}

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_SERVICE_NOT_STORED_H_
