#ifndef CHOIR_COORDINATOR_ROUND_ROUND_CODEC_H_
#define CHOIR_COORDINATOR_ROUND_ROUND_CODEC_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

#include "coordinator/round/round_state.h"

namespace choir::coordinator {

// A round's state as it is stored. Times are kept to the microsecond.
std::string EncodeRound(const RoundState& state);

// DATA_LOSS if the bytes are no such state or contradict themselves (unknown phase, a member of a
// cohort that there is not); FAILED_PRECONDITION if a newer program wrote them.
absl::StatusOr<RoundState> DecodeRound(std::string_view bytes);

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_ROUND_ROUND_CODEC_H_
