#ifndef CHOIR_COORDINATOR_ROUND_ROUND_CODEC_H_
#define CHOIR_COORDINATOR_ROUND_ROUND_CODEC_H_

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

#include "coordinator/round/round_state.h"

namespace choir::coordinator {

// A round's state as it is stored: a head, and a part for each member and each cohort, so that a
// transition writes what it changed, however many nodes there are. Times are kept to the
// microsecond.
struct RoundPart {
  std::string key;
  std::string value;
  friend bool operator==(const RoundPart&, const RoundPart&) = default;
};

std::string EncodeRoundHead(const RoundState& state);

// The parts of `after`, a state of the same round as `before`, that are others than those of
// `before`. A part is never taken away within a round.
std::vector<RoundPart> ChangedParts(const RoundState& before, const RoundState& after);
std::vector<RoundPart> AllParts(const RoundState& state);

// From a head and all parts, in any order. DATA_LOSS if the bytes are no such state or contradict
// themselves (unknown phase, a part too few, a member of a cohort that there is not);
// FAILED_PRECONDITION if a newer program wrote them. A head of an older program has all in it.
absl::StatusOr<RoundState> DecodeRound(std::string_view head, std::span<const RoundPart> parts);

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_ROUND_ROUND_CODEC_H_
